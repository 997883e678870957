from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.unit.voice_gateway.access.access_keys import SECRET, pair
from voice_gateway.access.keys import signing_key, verification_key
from voice_gateway.errors import ConfigurationError


def test_a_text_of_32_bytes_is_a_secret_whatever_is_around_it():
    key = verification_key("k", f" {'x' * 32}\n")
    assert (key.id, key.algorithm, key.material) == ("k", "HS256", b"x" * 32)
    assert signing_key("k", "x" * 32) == key


def test_pem_is_es256_and_never_a_secret():
    private, public = pair()
    assert verification_key("k", public).algorithm == "ES256"
    assert signing_key("k", private).algorithm == "ES256"


RSA = rsa.generate_private_key(65537, 2048).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (verification_key, "x" * 31, "31 bytes, HS256 needs at least 32"),
        (verification_key, "", "0 bytes"),
        (verification_key, pair()[0], "private key"),
        (verification_key, pair("p384", ec.SECP384R1)[1], "no P-256 key"),
        (verification_key, RSA.decode(), "no P-256 key"),
        (
            verification_key,
            "-----BEGIN PUBLIC KEY-----\nbm9uc2Vuc2U=\n-----END PUBLIC KEY-----",
            "no public key in PEM",
        ),
        (signing_key, "x" * 31, "31 bytes"),
        (signing_key, pair()[1], "no unencrypted private key"),
        (signing_key, pair("p384", ec.SECP384R1)[0], "no P-256 key"),
    ],
)
def test_what_is_no_key_is_refused_without_showing_it(read, text, message):
    with pytest.raises(ConfigurationError, match=message) as refused:
        read("k", text)
    assert not text or text not in str(refused.value)


def test_a_key_does_not_show_itself():
    assert SECRET not in repr(verification_key("k", SECRET))
    assert "[redacted]" not in repr(signing_key("k", SECRET))
