from __future__ import annotations

import base64
import os
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from voice_gateway.certificates.development import DEFAULT_HOSTS, ensure_certificate
from voice_gateway.errors import IdentityError

NOW = datetime(2026, 5, 1, tzinfo=UTC).timestamp()
DAY = 86_400


def leaf_of(folder):
    return x509.load_pem_x509_certificate((folder / "leaf.pem").read_bytes())


def test_the_leaf_keeps_the_rules_for_pinned_certificates(tmp_path):
    ensure_certificate(tmp_path, now=NOW)
    leaf = leaf_of(tmp_path)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= timedelta(days=14)
    key = leaf.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


def test_the_leaf_is_signed_by_the_authority_beside_it(tmp_path):
    ensure_certificate(tmp_path, now=NOW)
    authority = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    leaf_of(tmp_path).verify_directly_issued_by(authority)
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_key_belongs_to_the_leaf_and_to_its_owner(tmp_path):
    umask = os.umask(0)
    try:
        made = ensure_certificate(tmp_path, now=NOW)
    finally:
        os.umask(umask)
    key = load_pem_private_key(made.key.read_bytes(), password=None)
    assert key.public_key() == leaf_of(tmp_path).public_key()
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600


def test_no_key_of_the_authority_is_left_behind(tmp_path):
    ensure_certificate(tmp_path, now=NOW)
    assert {path.name for path in tmp_path.iterdir()} == {"ca.pem", "leaf.pem", "leaf.key", "fingerprint.txt"}


def test_the_fingerprint_is_of_the_der_in_hex_and_base64(tmp_path):
    made = ensure_certificate(tmp_path, now=NOW)
    digest = leaf_of(tmp_path).fingerprint(hashes.SHA256())
    assert made.sha256 == digest
    assert (tmp_path / "fingerprint.txt").read_text().split() == [digest.hex(), base64.b64encode(digest).decode()]


def test_hosts_are_added_to_the_local_ones(tmp_path):
    made = ensure_certificate(tmp_path, now=NOW, hosts=["voice.example", "192.0.2.7", "localhost"])
    assert made.hosts == (*DEFAULT_HOSTS, "voice.example", "192.0.2.7")


@pytest.mark.parametrize(
    ("later_s", "options", "is_new"),
    [
        (0, {}, False),
        (10 * DAY, {}, False),
        (11.5 * DAY, {}, True),
        (40 * DAY, {}, True),
        (0, {"is_forced": True}, True),
        (0, {"hosts": ["voice.example"]}, True),
    ],
)
def test_it_is_renewed_when_needed_and_left_alone_otherwise(tmp_path, later_s, options, is_new):
    first = ensure_certificate(tmp_path, now=NOW)
    second = ensure_certificate(tmp_path, now=NOW + later_s, **options)
    assert second.is_new is is_new
    assert (first.sha256 != second.sha256) is is_new


@pytest.mark.parametrize("name", ["ca.pem", "leaf.pem", "leaf.key", "fingerprint.txt"])
@pytest.mark.parametrize("content", [None, b"garbage"])
def test_a_missing_or_broken_file_renews_them_all(tmp_path, name, content):
    ensure_certificate(tmp_path, now=NOW)
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    assert ensure_certificate(tmp_path, now=NOW).is_new
    assert not ensure_certificate(tmp_path, now=NOW).is_new


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(IdentityError, match="file"):
        ensure_certificate(tmp_path / "file", now=NOW)


def test_a_host_must_be_one(tmp_path):
    with pytest.raises(IdentityError, match="host"):
        ensure_certificate(tmp_path, now=NOW, hosts=["a..b"])
