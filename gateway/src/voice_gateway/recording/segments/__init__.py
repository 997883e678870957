"""What a worker writes of a call while it goes on."""
