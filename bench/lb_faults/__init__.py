"""What a load balancer of two processes loses when parts of it are killed under load."""
