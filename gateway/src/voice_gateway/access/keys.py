"""The keys that access tokens are signed and checked with. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from voice_gateway.errors import ConfigurationError

MIN_SECRET_BYTES: Final = 32
"""RFC 7518 section 3.2: a key of HS256 is no shorter than its hash."""


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key of the algorithm it is for and no other; tokens name it by `id`, their header's `kid`."""

    id: str
    algorithm: Literal["HS256", "ES256"]
    material: Any = field(repr=False)


def verification_key(key_id: str, text: str) -> AccessKey:
    """Read what checks tokens: a public P-256 key in PEM (ES256), or a secret of at least 32 bytes (HS256).

    Raises `ConfigurationError`, without the text.
    """
    if not _is_pem(text):
        return _secret(key_id, text)
    if "PRIVATE KEY" in text:
        raise ConfigurationError("is a private key: tokens are checked with the public one alone")
    try:
        public = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigurationError("is no public key in PEM") from None
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise ConfigurationError("is no P-256 key, which ES256 needs")
    return AccessKey(key_id, "ES256", public)


def signing_key(key_id: str, text: str) -> AccessKey:
    """Read what signs tokens: a private P-256 key in PEM (ES256), or a secret of at least 32 bytes (HS256).

    Raises `ConfigurationError`, without the text.
    """
    if not _is_pem(text):
        return _secret(key_id, text)
    try:
        private = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError("is no unencrypted private key in PEM, which signing needs") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise ConfigurationError("is no P-256 key, which ES256 needs")
    return AccessKey(key_id, "ES256", private)


def _is_pem(text: str) -> bool:
    return "-----BEGIN" in text


def _secret(key_id: str, text: str) -> AccessKey:
    data = text.strip().encode()
    if len(data) < MIN_SECRET_BYTES:
        raise ConfigurationError(f"is a secret of {len(data)} bytes, HS256 needs at least {MIN_SECRET_BYTES}")
    return AccessKey(key_id, "HS256", data)
