"""How long a call takes to carry its first audio, by each way of opening it."""
