"""The certificate and key a gateway proves itself with."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from voice_gateway.errors import IdentityError
from voicelink.quic.handshake.signatures import signature_algorithms

MIN_RSA_BITS: Final = 2048
"""Below it OpenSSL refuses to serve a key, and browsers refuse the certificate."""
_USABLE_KEYS: Final = f"P-256, P-384, Ed25519 or RSA of at least {MIN_RSA_BITS} bits"


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """A certificate, the chain that follows it, and its private key, known to belong together.

    Make one by `from_pem` or `load`.
    """

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    private_key: Any = field(repr=False)

    @classmethod
    def from_pem(cls, certificate_pem: bytes, key_pem: bytes, *, now: float) -> TlsIdentity:
        """Read the leaf, any chain behind it, and the unencrypted key; `now` is seconds since 1970.

        Raises `IdentityError` for what is no PEM, a key of another certificate, a key that serves no client,
        and a certificate out of its dates.
        """
        try:
            certificate, *chain = x509.load_pem_x509_certificates(certificate_pem)
        except ValueError as error:
            raise IdentityError(f"the certificate cannot be read: {error}") from error
        try:
            private_key: Any = load_pem_private_key(key_pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise IdentityError(f"the private key cannot be read: {error}") from error
        try:
            public_key = certificate.public_key()
        except (ValueError, UnsupportedAlgorithm) as error:
            raise IdentityError(
                f"the key in the certificate of {_subject(certificate)} cannot be read: {error}; use {_USABLE_KEYS}"
            ) from error
        if _public_bytes(private_key.public_key()) != _public_bytes(public_key):
            raise IdentityError(f"the private key does not match the certificate of {_subject(certificate)}")
        if not _is_usable(private_key):
            raise IdentityError(
                f"the certificate of {_subject(certificate)} has a key of {_kind(private_key)}, "
                f"with which no client can be served: use {_USABLE_KEYS}"
            )
        today = datetime.fromtimestamp(now, UTC)
        if today > certificate.not_valid_after_utc:
            raise IdentityError(
                f"the certificate of {_subject(certificate)} expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
            )
        if today < certificate.not_valid_before_utc:
            raise IdentityError(
                f"the certificate of {_subject(certificate)} is valid from {certificate.not_valid_before_utc:%Y-%m-%d}"
            )
        return cls(certificate, tuple(chain), private_key)

    @classmethod
    def load(cls, certificate: Path, key: Path, *, now: float) -> TlsIdentity:
        """`from_pem` with the contents of two files; the message names the file at fault."""
        return cls.from_pem(_read(certificate, "certificate"), _read(key, "private key"), now=now)

    @property
    def subject(self) -> str:
        """The distinguished name of the leaf, for messages."""
        return _subject(self.certificate)

    @property
    def fingerprint_sha256(self) -> bytes:
        """The SHA-256 of the certificate: the value of a browser's `serverCertificateHashes`."""
        return self.certificate.fingerprint(hashes.SHA256())


def _read(path: Path, what: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise IdentityError(f"the {what} {path} cannot be read: {error.strerror}") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise IdentityError(f"the {what} {path} is UTF-16; save it as UTF-8")
    return content


def _public_bytes(key: Any) -> bytes:
    data: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "an empty subject"


def _is_usable(private_key: Any) -> bool:
    if isinstance(private_key, rsa.RSAPrivateKey) and private_key.key_size < MIN_RSA_BITS:
        return False
    return bool(signature_algorithms(private_key))


def _kind(private_key: Any) -> str:
    if isinstance(private_key, rsa.RSAPrivateKey):
        return f"RSA with {private_key.key_size} bits"
    if isinstance(private_key, ec.EllipticCurvePrivateKey):
        return f"the curve {private_key.curve.name}"
    return f"the kind {type(private_key).__name__.removesuffix('PrivateKey')}"
