"""The secrets of a handshake, beside those that `cryptography` derives."""

from __future__ import annotations

import pytest
from aioquic import tls
from aioquic.quic import crypto
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from voicelink.quic import Connection
from voicelink.quic.handshake import hkdf

HASHES = (SHA256(), SHA384())


def test_aioquic_derives_by_these() -> None:
    assert Connection is not None  # its module installs them
    for module in (tls, crypto):
        assert vars(module)["hkdf_expand_label"] is hkdf.expand_label
        assert vars(module)["hkdf_extract"] is hkdf.extract


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda each: each.name)
@pytest.mark.parametrize("length", [12, 16, 32])
@pytest.mark.parametrize("context", [b"", b"\x5a" * 32, b"\xa5" * 48])
def test_labels_expand_as_by_the_library(algorithm: HashAlgorithm, length: int, context: bytes) -> None:
    secret = bytes(range(algorithm.digest_size))
    for label in (b"quic key", b"c hs traffic"):
        info = tls.hkdf_label(label, context, length)
        expected = HKDFExpand(algorithm=algorithm, length=length, info=info).derive(secret)
        assert hkdf.expand_label(algorithm, secret, label, context, length) == expected


@pytest.mark.parametrize("algorithm", HASHES, ids=lambda each: each.name)
def test_secrets_are_extracted_as_by_the_library(algorithm: HashAlgorithm) -> None:
    expected = hmac.HMAC(b"salt", algorithm)
    expected.update(b"shared")
    assert hkdf.extract(algorithm, b"salt", b"shared") == expected.finalize()


def test_no_secret_is_longer_than_its_hash() -> None:
    with pytest.raises(ValueError, match="at most the 32 bytes"):
        hkdf.expand_label(hashes.SHA256(), bytes(32), b"key", b"", 33)
