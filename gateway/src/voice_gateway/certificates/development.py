"""A development CA and the short-lived certificate that browsers accept by its fingerprint."""

from __future__ import annotations

import base64
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from voice_gateway.errors import IdentityError

DEFAULT_HOSTS = ("localhost", "127.0.0.1", "::1")
LEAF_LIFETIME = timedelta(days=13)
"""Below the 14 days that `serverCertificateHashes` allows, by more than any clock is wrong."""
RENEW_BEFORE = timedelta(days=2)
_CA_LIFETIME = timedelta(days=365)
_CLOCK_SKEW = timedelta(hours=1)
_AUTHORITY_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Voice gateway development CA")])


@dataclass(frozen=True, slots=True)
class DevelopmentCertificate:
    """Where the files are, and what a browser pins; `is_new` tells whether they were written just now."""

    folder: Path
    hosts: tuple[str, ...]
    expires: datetime
    sha256: bytes
    is_new: bool

    @property
    def leaf(self) -> Path:
        return self.folder / "leaf.pem"

    @property
    def key(self) -> Path:
        return self.folder / "leaf.key"

    @property
    def authority(self) -> Path:
        return self.folder / "ca.pem"


def ensure_certificate(
    folder: Path, *, now: float, hosts: Sequence[str] = (), is_forced: bool = False
) -> DevelopmentCertificate:
    """Leave a good certificate in `folder` alone, or write a new CA and leaf; `now` is seconds since 1970.

    Writes `ca.pem`, `leaf.pem`, `leaf.key` (readable by its owner only) and `fingerprint.txt`. The CA's key is used
    once and never written, so that no other certificate can be issued with it. A leaf with less than two days left,
    or without one of the hosts, is renewed. Raises `IdentityError` where the folder cannot be written.
    """
    wanted = tuple(dict.fromkeys((*DEFAULT_HOSTS, *hosts)))
    today = datetime.fromtimestamp(now, UTC)
    found = None if is_forced else _usable_leaf(folder, wanted, today)
    try:
        leaf = found or _write_new(folder, wanted, today)
    except OSError as error:
        raise IdentityError(f"{error.filename or folder}: {(error.strerror or str(error)).lower()}") from None
    return DevelopmentCertificate(
        folder, _names(leaf), leaf.not_valid_after_utc, leaf.fingerprint(hashes.SHA256()), is_new=found is None
    )


def is_development_certificate(file: Path) -> bool:
    """Whether a PEM file begins with a certificate of a CA of ours; raises `IdentityError` where it cannot be read."""
    try:
        leaf = x509.load_pem_x509_certificate(file.read_bytes())
    except OSError as error:
        raise IdentityError(f"{file}: {(error.strerror or str(error)).lower()}") from None
    except ValueError:
        raise IdentityError(f"{file}: is no certificate in PEM") from None
    return leaf.issuer == _AUTHORITY_NAME


def _usable_leaf(folder: Path, hosts: tuple[str, ...], today: datetime) -> x509.Certificate | None:
    try:
        leaf = x509.load_pem_x509_certificate((folder / "leaf.pem").read_bytes())
        authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / "leaf.key").read_bytes(), password=None)
        leaf.verify_directly_issued_by(authority)
        is_complete = (folder / "fingerprint.txt").read_text() == _fingerprints(leaf)
    except (OSError, ValueError, TypeError, InvalidSignature):
        return None
    is_current = leaf.not_valid_before_utc <= today <= leaf.not_valid_after_utc - RENEW_BEFORE
    if is_complete and is_current and key.public_key() == leaf.public_key() and set(hosts) <= set(_names(leaf)):
        return leaf
    return None


def _write_new(folder: Path, hosts: tuple[str, ...], today: datetime) -> x509.Certificate:
    authority_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _authority(authority_key, today)
    leaf = _leaf(leaf_key, hosts, authority, authority_key, today)
    key_pem = leaf_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "leaf.key", key_pem, mode=0o600)
    _write(folder / "ca.pem", authority.public_bytes(serialization.Encoding.PEM))
    _write(folder / "fingerprint.txt", _fingerprints(leaf).encode())
    # the leaf comes last: a process that waits for it finds the others
    _write(folder / "leaf.pem", leaf.public_bytes(serialization.Encoding.PEM))
    return leaf


def _authority(key: ec.EllipticCurvePrivateKey, today: datetime) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(_AUTHORITY_NAME)
        .issuer_name(_AUTHORITY_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - _CLOCK_SKEW)
        .not_valid_after(today + _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    key: ec.EllipticCurvePrivateKey,
    hosts: tuple[str, ...],
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    today: datetime,
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - _CLOCK_SKEW)
        .not_valid_after(today - _CLOCK_SKEW + LEAF_LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host.encode("idna").decode("ascii"))
    except UnicodeError:
        raise IdentityError(f"a host must be a name or an IP address, got {host!r}") from None


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return tuple(str(name.value) for name in names)


def _fingerprints(leaf: x509.Certificate) -> str:
    digest = leaf.fingerprint(hashes.SHA256())
    return f"{digest.hex()}\n{base64.b64encode(digest).decode()}\n"


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replace the file in one step, never readable by more than `mode` allows."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    draft.replace(path)
