"""Which signature algorithms a server can offer with a private key."""

from __future__ import annotations

from typing import Any

from aioquic import tls


def signature_algorithms(private_key: Any) -> tuple[tls.SignatureAlgorithm, ...]:
    """Return the algorithms of CertificateVerify (RFC 8446 section 4.4.3) that aioquic signs with this key.

    Empty for a key that no handshake can succeed with: aioquic has none for P-521, secp256k1 or Brainpool curves.
    """
    context = tls.Context(is_client=False)
    context.certificate_private_key = private_key
    return tuple(context._signature_algorithms_for_private_key())
