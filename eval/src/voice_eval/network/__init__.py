"""What a network does to a call: conditions by name, traces, and the link that a call is led through."""
