from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import GatewayError, IdentityError
from gateway.quic.tls import TlsIdentity
from tests.unit.gateway.quic.harness import NOW, pem

DAY_S = 86_400


def test_a_matching_pair_makes_an_identity_with_the_fingerprint_browsers_pin() -> None:
    certificate, key = pem()
    identity = TlsIdentity.from_pem(certificate, key, now=NOW)
    der = x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)
    assert identity.fingerprint_sha256 == hashlib.sha256(der).digest()
    assert identity.chain == ()
    assert "private" not in repr(identity)


def test_certificates_behind_the_leaf_are_its_chain() -> None:
    leaf, key = pem()
    issuer, _ = pem(name="issuer")
    assert len(TlsIdentity.from_pem(leaf + issuer, key, now=NOW).chain) == 1


@pytest.mark.parametrize(
    ("certificate", "key", "now", "message"),
    [
        (b"", pem()[1], NOW, "the certificate cannot be read"),
        (
            b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n",
            pem()[1],
            NOW,
            "the certificate cannot",
        ),
        (pem()[0], b"nothing", NOW, "the private key cannot be read"),
        (pem()[0], pem(name="other")[1], NOW, "does not match the certificate of CN=localhost"),
        (*pem(), NOW + 10 * DAY_S, "the certificate of CN=localhost expired on 2027-01-24"),
        (*pem(), NOW - 2 * DAY_S, "the certificate of CN=localhost is valid from 2027-01-14"),
    ],
)
def test_what_cannot_be_served_is_named_in_one_sentence(
    certificate: bytes, key: bytes, now: float, message: str
) -> None:
    with pytest.raises(IdentityError, match=message) as caught:
        TlsIdentity.from_pem(certificate, key, now=now)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, GatewayError)


def test_load_reads_two_files_and_names_the_one_that_is_missing(tmp_path: Path) -> None:
    certificate, key = pem()
    (tmp_path / "leaf.pem").write_bytes(certificate)
    with pytest.raises(IdentityError, match=r"the private key .*leaf\.key cannot be read: No such file"):
        TlsIdentity.load(tmp_path / "leaf.pem", tmp_path / "leaf.key", now=NOW)
    (tmp_path / "leaf.key").write_bytes(key)
    assert TlsIdentity.load(tmp_path / "leaf.pem", tmp_path / "leaf.key", now=NOW).chain == ()
