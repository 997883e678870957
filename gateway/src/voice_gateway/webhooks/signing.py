"""Signatures of webhooks as Standard Webhooks has them: HMAC-SHA-256 over ID, time and body. Sans-IO."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

TOLERANCE_S: Final = 300.0
"""How old or new a receiver should let a notification be."""
_PREFIX: Final = "whsec_"


def signing_key(secret: str) -> bytes:
    """Return the key of a secret: `whsec_` and base64, or any text."""
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            pass
    return secret.encode()


def signed_headers(key: bytes, notification_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers of a notification; `timestamp` is in seconds since 1970, that of the attempt."""
    return {
        "webhook-id": notification_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{_signature(key, notification_id, timestamp, body)}",
    }


def is_genuine(key: bytes, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Whether a notification was signed with the key, and lately; header names are in lower case."""
    try:
        timestamp = int(headers["webhook-timestamp"])
        signatures = headers["webhook-signature"].split()
        expected = f"v1,{_signature(key, headers['webhook-id'], timestamp, body)}"
    except (KeyError, ValueError):
        return False
    return abs(now - timestamp) <= TOLERANCE_S and any(hmac.compare_digest(expected, each) for each in signatures)


def _signature(key: bytes, notification_id: str, timestamp: int, body: bytes) -> str:
    signed = f"{notification_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
