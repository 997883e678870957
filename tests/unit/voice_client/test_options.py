"""Settings that can be used, and sentences about those that cannot."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.integration.support.scripted_server import self_signed
from voice_client.errors import InvalidSetting
from voice_client.options import AudioOptions, ConnectionOptions, Security, UplinkOptions, grouped
from voice_client.transport.credentials import CredentialStore
from voice_client.transport.target import Target, parse_fingerprint, parse_local_address, parse_url
from voice_client.transport.trust import Trust, trust
from voice_client.transport.webtransport.configuration import quic_configuration
from voice_client.voice_client import VoiceClient

URL = "https://h/v1/voice"


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("https://h:4433/v1/voice", Target("h", 4433, "/v1/voice"), "h:4433"),
        ("https://h/v1/voice?a=b", Target("h", 443, "/v1/voice?a=b"), "h:443"),
        ("https://[::1]:1", Target("::1", 1, "/"), "[::1]:1"),
    ],
)
def test_urls_are_taken_apart(url: str, target: Target, authority: str) -> None:
    assert parse_url(url) == target
    assert target.authority == authority


@pytest.mark.parametrize(
    ("url", "looked_up", "server_name", "shown"),
    [
        ("https://bücher.test/", "xn--bcher-kva.test", "xn--bcher-kva.test", "bücher.test:443"),
        ("https://gw.test.:4433/", "gw.test.", "gw.test", "gw.test.:4433"),
        ("https://bücher.test./", "xn--bcher-kva.test.", "xn--bcher-kva.test", "bücher.test.:443"),
        ("https://GW.test/", "gw.test", "gw.test", "gw.test:443"),
    ],
)
def test_a_host_is_shown_as_typed_and_sent_as_a_labels_without_the_final_dot(
    url: str, looked_up: str, server_name: str, shown: str
) -> None:
    target = parse_url(url)
    assert (target.host, target.server_name, target.shown) == (looked_up, server_name, shown)
    assert target.authority == f"{server_name}:{target.port}"
    configuration = quic_configuration(target, trust(None, None), CredentialStore().of(target, trust(None, None)))
    assert configuration.server_name == server_name


def test_a_path_is_sent_percent_encoded() -> None:
    assert parse_url("https://h/grüße %20?q=a b#part").path == "/gr%C3%BC%C3%9Fe%20%20?q=a%20b"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://h:0/", "port must be 1 to 65535"),
        ("https://a..b/", "labels of 1 to 63"),
        (f"https://{'a' * 64}.test/", "labels of 1 to 63"),
        (f"https://{'ü' * 64}.test/", "cannot be written in ASCII"),
    ],
)
def test_hosts_and_ports_that_do_not_exist_are_named(url: str, sentence: str) -> None:
    with pytest.raises(InvalidSetting, match=sentence):
        parse_url(url)


@pytest.mark.parametrize(
    "url", ["", "h:4433", "http://h", "https://", "https://h:x/", "https://[::1", "https://u:p@h/"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidSetting):
        parse_url(url)


def test_a_fingerprint_is_read_as_browsers_and_openssl_write_it() -> None:
    assert parse_fingerprint("AB:" * 31 + "ab\n") == parse_fingerprint("ab" * 32) == b"\xab" * 32


@pytest.mark.parametrize("text", ["", "ab" * 31, "zz" * 32, "ab" * 33])
def test_other_fingerprints_are_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="64 hexadecimal digits"):
        parse_fingerprint(text)


def test_one_proof_of_identity_is_enough(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="not both"):
        trust("ab" * 32, tmp_path)


def test_an_authority_s_file_may_have_a_byte_order_mark_and_is_no_utf_16(tmp_path: Path) -> None:
    pem, _ = self_signed()
    (tmp_path / "ca.pem").write_bytes(b"\xef\xbb\xbf" + pem)
    assert trust(None, tmp_path / "ca.pem") == Trust(authorities_pem=pem)
    (tmp_path / "ca.pem").write_text(pem.decode(), "utf-16")
    with pytest.raises(InvalidSetting, match=r"ca\.pem is UTF-16; save it as UTF-8$"):
        trust(None, tmp_path / "ca.pem")


def test_an_authority_s_file_may_hold_other_text(tmp_path: Path) -> None:
    pem, _ = self_signed()
    (tmp_path / "ca.pem").write_bytes(b"The development CA\r\n" + pem.replace(b"\n", b"\r\n") + b"trailer")
    assert trust(None, tmp_path / "ca.pem") == Trust(authorities_pem=pem)


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "ä"])
def test_tokens_that_would_break_a_header_are_refused(token: str) -> None:
    with pytest.raises(InvalidSetting, match="access token"):
        VoiceClient(URL, security=Security(token=token))


def test_unknown_codecs_are_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"AudioOptions\.codec is 'mp3': choose one of opus, pcm16"):
        VoiceClient(URL, audio=AudioOptions(codec="mp3"))  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: ConnectionOptions(connect_timeout_s=0),
            "ConnectionOptions.connect_timeout_s is 0: give more than 0 s",
        ),
        (lambda: ConnectionOptions(heartbeat_s=-1), "ConnectionOptions.heartbeat_s is -1: give more than 0 s"),
        (lambda: ConnectionOptions(resume_timeout_s=-1), "ConnectionOptions.resume_timeout_s is -1: give 0 s"),
        (
            lambda: UplinkOptions(cast(Any, "fast")),
            "UplinkOptions.mode is 'fast': choose one of reliable, hybrid, deadline",
        ),
        (lambda: UplinkOptions(limit_s=float("nan")), "UplinkOptions.limit_s is nan: give more than 0 s"),
    ],
)
def test_errors_name_option_value_and_remedy(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(message)):
        wrong()


@pytest.mark.parametrize(
    ("former", "value", "spelling"),
    [
        ("token", "t", "security=Security(token=...)"),
        ("ca_file", None, "security=Security(ca_file=...)"),
        ("certificate_hash", "00" * 32, "security=Security(certificate_hash=...)"),
        ("codec", "pcm16", "audio=AudioOptions(codec=...)"),
        ("has_playback", False, "audio=AudioOptions(has_playback=...)"),
        ("sinks", (), "audio=AudioOptions(sinks=...)"),
        ("local_address", "127.0.0.2", "connection=ConnectionOptions(local_address=...)"),
        ("connect_timeout_s", 1.0, "connection=ConnectionOptions(connect_timeout_s=...)"),
        ("heartbeat_s", 1.0, "connection=ConnectionOptions(heartbeat_s=...)"),
        ("resume_timeout_s", 0.0, "connection=ConnectionOptions(resume_timeout_s=...)"),
        ("credentials", None, "connection=ConnectionOptions(credentials=...)"),
        ("uplink", "hybrid", "uplink=UplinkOptions(mode=...)"),
        ("uplink_limit_s", 1.0, "uplink=UplinkOptions(limit_s=...)"),
    ],
)
def test_a_former_keyword_works_and_warns_with_the_new_spelling(former: str, value: Any, spelling: str) -> None:
    with pytest.warns(DeprecationWarning, match=re.escape(f"is deprecated: use {spelling}")) as warned:
        client = VoiceClient(URL, **{former: value})
    assert [warning.filename for warning in warned] == [__file__]
    assert client._settings == VoiceClient(URL, **grouped({former: value}))._settings


def test_a_former_keyword_beside_its_group_is_refused() -> None:
    with pytest.raises(
        InvalidSetting, match=r"VoiceClient got codec and audio: give audio=AudioOptions\(codec=\.\.\.\) alone"
    ):
        VoiceClient(URL, audio=AudioOptions(), codec="pcm16")


def test_a_keyword_that_never_was_is_a_type_error() -> None:
    with pytest.raises(
        TypeError, match="no option 'codecs'; it takes security, audio, connection, uplink, agent and rng"
    ):
        VoiceClient(URL, codecs="opus")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.3", ("127.0.0.3", 0)),
        ("127.0.0.3:40123", ("127.0.0.3", 40123)),
        ("::1", ("::1", 0)),
        ("[2001:db8::7]:40123", ("2001:db8::7", 40123)),
    ],
)
def test_local_addresses_may_name_a_port(text: str, address: tuple[str, int]) -> None:
    assert parse_local_address(text) == address


@pytest.mark.parametrize("text", ["", "127.0.0.3:http", "127.0.0.3:99999", "127.0.0.3/8"])
def test_local_addresses_that_cannot_be_read_are_named(text: str) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(repr(text))):
        parse_local_address(text)
