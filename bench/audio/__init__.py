"""Streaming rate conversion: ours beside what else there is."""
