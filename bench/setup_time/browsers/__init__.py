"""Calls placed by real browsers at the caller's end of the link."""
