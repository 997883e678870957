"""The gateway's exceptions.

GatewayError            what the operator or the embedding program has to put right
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base of all that the gateway raises; its message is one sentence for a person."""
