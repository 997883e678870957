"""What a call takes of the caller: turns, and what of their speech interrupts the agent."""
