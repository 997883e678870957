"""What calls lose when their agent host is killed, and what a host costs them."""
