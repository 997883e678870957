"""One call of a LiveKit session: what it heard, what is saved of it, and what it says."""
