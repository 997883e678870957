"""A server's certificates as its handshakes show them."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate


class EncodedCertificate:
    """Stands in for a certificate in a server's `QuicConfiguration`: aioquic encodes it anew in each handshake."""

    def __init__(self, certificate: Certificate) -> None:
        self._der = certificate.public_bytes(Encoding.DER)

    def public_bytes(self, encoding: Encoding) -> bytes:
        """Return the DER, which is all that aioquic asks for; raises `ValueError` for another encoding."""
        if encoding != Encoding.DER:
            raise ValueError(f"a certificate is shown in DER, {encoding} was asked for")
        return self._der
