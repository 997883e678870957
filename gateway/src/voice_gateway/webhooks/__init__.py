"""Signed notifications of calls to HTTP servers of the operator."""
