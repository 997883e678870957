"""Streaming rate conversion: ours beside other libraries."""
