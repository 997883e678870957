"""What a caller sends on its way to the agent, in order and in its turn of the event loop."""
