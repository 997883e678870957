"""What the vendor is asked to say, and what of it goes to the caller."""
