"""How the client authenticates the server: public authorities, a CA file, or a pinned certificate."""

from __future__ import annotations

import codecs
import hashlib
import hmac
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from voice_client.errors import InvalidSetting
from voice_client.transport.target import parse_fingerprint
from voicelink.quic import QuicConfiguration


@dataclass(frozen=True, slots=True)
class Trust:
    """One pinned certificate, or the authorities that may vouch for any; neither means the public ones."""

    fingerprint: bytes | None = None
    authorities_pem: bytes | None = None

    def configure(self, configuration: QuicConfiguration) -> None:
        """Have TLS check the chain, unless the pin replaces that."""
        if self.fingerprint is not None:
            configuration.verify_mode = ssl.CERT_NONE
        else:
            configuration.cadata = self.authorities_pem

    def accepts(self, certificate_der: bytes | None) -> bool:
        """Whether the pin, where there is one, fits the certificate of a completed handshake."""
        if self.fingerprint is None:
            return True
        shown = hashlib.sha256(certificate_der or b"").digest()
        return hmac.compare_digest(shown, self.fingerprint)


def trust(certificate_hash: str | None, ca_file: str | Path | None) -> Trust:
    """Read what the caller trusts; `InvalidSetting` where both are given or one cannot be read."""
    if certificate_hash is not None and ca_file is not None:
        raise InvalidSetting(
            f"got the CA file {ca_file} and a certificate hash, not both can be trusted: leave one out"
        )
    if certificate_hash is not None:
        return Trust(fingerprint=parse_fingerprint(certificate_hash))
    if ca_file is None:
        return Trust()
    try:
        content = Path(ca_file).read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InvalidSetting(f"the CA file {ca_file} is UTF-16; save it as UTF-8")
        certificates = x509.load_pem_x509_certificates(content)
    except OSError as error:
        raise InvalidSetting(f"cannot read the CA file {ca_file}: {error.strerror or error}") from None
    except ValueError:
        raise InvalidSetting(f"the CA file {ca_file} holds no PEM certificate") from None
    # written anew: aioquic stumbles over text between certificates and over CRLF
    return Trust(authorities_pem=b"".join(each.public_bytes(Encoding.PEM) for each in certificates))
