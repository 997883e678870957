"""What a call loses when the address of its caller changes, by each way of carrying it."""
