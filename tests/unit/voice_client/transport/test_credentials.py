from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aioquic.tls import CipherSuite, SessionTicket

from voice_client import CredentialStore, InvalidSetting
from voice_client.transport.target import parse_url
from voice_client.transport.trust import Trust

SERVER = parse_url("https://gateway.example:4433/v1/voice")
PINNED = Trust(fingerprint=b"f" * 32)


def ticket(number: int, age_h: int = 0) -> SessionTicket:
    begin = datetime.now(UTC) - timedelta(hours=age_h)
    return SessionTicket(
        age_add=number,
        cipher_suite=CipherSuite.AES_128_GCM_SHA256,
        not_valid_before=begin,
        not_valid_after=begin + timedelta(hours=24),
        resumption_secret=b"secret",
        server_name="gateway.example",
        ticket=bytes((number,)),
        max_early_data_size=0xFFFFFFFF,
        other_extensions=[(57, b"parameters")],
    )


def test_each_is_used_once_and_the_newest_first() -> None:
    account = CredentialStore().of(SERVER, PINNED)
    one, two = ticket(1), ticket(2)
    for each in (one, two):
        account.keep_ticket(each)
    account.keep_token(b"token")
    assert [account.take() for _ in range(3)] == [(two, b"token"), (one, b""), (None, b"")]


def test_what_expired_is_not_used_and_only_so_many_are_kept() -> None:
    account = CredentialStore().of(SERVER, PINNED)
    account.keep_ticket(ticket(9, age_h=25))
    assert account.take() == (None, b"")
    for number in range(9):
        account.keep_token(bytes((number,)))
    assert [account.take()[1] for _ in range(5)] == [b"\x08", b"\x07", b"\x06", b"\x05", b""]


@pytest.mark.parametrize(
    ("url", "trust"),
    [
        ("https://gateway.example:4434/v1/voice", PINNED),
        ("https://other.example:4433/v1/voice", PINNED),
        ("https://gateway.example:4433/v1/voice", Trust(fingerprint=b"g" * 32)),
        ("https://gateway.example:4433/v1/voice", Trust(authorities_pem=b"f" * 32)),
        ("https://gateway.example:4433/v1/voice", Trust()),
    ],
    ids=["port", "host", "pin", "authority", "public authorities"],
)
def test_they_are_for_one_server_under_one_trust(url: str, trust: Trust) -> None:
    store = CredentialStore()
    store.of(SERVER, PINNED).keep_token(b"token")
    assert store.of(parse_url(url), trust).take() == (None, b"")
    assert store.of(SERVER, PINNED).take() == (None, b"token")


def test_a_file_brings_them_back_whole_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    account = CredentialStore(file).of(SERVER, PINNED)
    kept = ticket(1)
    account.keep_ticket(kept)
    account.keep_token(b"token")
    assert file.stat().st_mode & 0o777 == 0o600
    assert CredentialStore(file).of(SERVER, PINNED).take() == (kept, b"token")
    assert CredentialStore(file).of(SERVER, PINNED).take() == (None, b"")
    assert [each.name for each in tmp_path.iterdir()] == ["credentials.json"]


@pytest.mark.parametrize("text", ["", "{}", '{"version": 2}', '{"version": 1, "servers": {"a": {}}}', "[]", "\x00"])
def test_a_file_that_cannot_be_read_counts_as_empty(tmp_path: Path, text: str) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(text)
    account = CredentialStore(file).of(SERVER, PINNED)
    assert account.take() == (None, b"")
    account.keep_token(b"token")
    assert CredentialStore(file).of(SERVER, PINNED).take() == (None, b"token")


def test_a_directory_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="no directory for the credentials file /nowhere/at/all"):
        CredentialStore("/nowhere/at/all")
