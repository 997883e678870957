"""Keys for tests: a secret, and P-256 pairs by name."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SECRET = "a secret of at least thirty-two bytes"


@cache
def pair(name: str = "one", curve: type[ec.EllipticCurve] = ec.SECP256R1) -> tuple[str, str]:
    """Private and public key in PEM, new for each name."""
    key = ec.generate_private_key(curve())
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    )
