from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests.unit.voicelink.quic.harness import NOW, pem
from voice_gateway.endpoint.tls.identity import TlsIdentity
from voice_gateway.endpoint.tls.self_test import handshake_in_memory
from voice_gateway.errors import GatewayError, IdentityError

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


UNUSABLE = [
    (ec.generate_private_key(ec.SECP521R1()), "the curve secp521r1"),
    (ec.generate_private_key(ec.SECP256K1()), "the curve secp256k1"),
    (ec.generate_private_key(ec.BrainpoolP256R1()), "the curve brainpoolP256r1"),
    (rsa.generate_private_key(65537, 1024), "RSA with 1024 bits"),  # noqa: S505 - what is refused
]
USABLE = [
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    rsa.generate_private_key(65537, 2048),
    ed25519.Ed25519PrivateKey.generate(),
]


@pytest.mark.parametrize(("private_key", "kind"), UNUSABLE, ids=[kind for _, kind in UNUSABLE])
def test_a_key_that_no_client_can_be_served_with_is_refused_by_name(private_key: Any, kind: str) -> None:
    with pytest.raises(IdentityError, match=rf"CN=localhost has a key of {kind}, .*: use P-256, P-384, Ed25519 or RSA"):
        TlsIdentity.from_pem(*pem(key=private_key), now=NOW)


@pytest.mark.parametrize("private_key", USABLE, ids=lambda key: type(key).__name__)
def test_a_key_of_every_kind_that_is_recommended_completes_a_handshake_in_memory(private_key: Any) -> None:
    handshake_in_memory(TlsIdentity.from_pem(*pem(key=private_key), now=NOW))


def test_a_long_chain_completes_a_handshake_in_memory() -> None:
    leaf, key = pem()
    chain = b"".join(pem(name=f"issuer {number}")[0] for number in range(12))
    handshake_in_memory(TlsIdentity.from_pem(leaf + chain, key, now=NOW))


def test_a_certificate_that_fails_in_the_handshake_is_named() -> None:
    identity = TlsIdentity.from_pem(*pem(), now=NOW)
    unusable = TlsIdentity(identity.certificate, (), ec.generate_private_key(ec.SECP521R1()))
    with pytest.raises(IdentityError, match="CN=localhost fails in a QUIC handshake: No supported signature algorithm"):
        handshake_in_memory(unusable)
    foreign = TlsIdentity(identity.certificate, (), ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(IdentityError, match="CN=localhost fails in a QUIC handshake: "):
        handshake_in_memory(foreign)
