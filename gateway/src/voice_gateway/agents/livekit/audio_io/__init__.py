"""A voice session as the input and output of a LiveKit session."""
