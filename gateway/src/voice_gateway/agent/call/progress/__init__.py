"""What of a call outlives its worker: turns, steps and state."""
