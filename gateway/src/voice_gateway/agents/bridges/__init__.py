"""Bridges: agents whose conversation is held by a vendor's voice agent over one WebSocket.

`bridge` is what all have in common; each vendor is one module beside it.
"""
