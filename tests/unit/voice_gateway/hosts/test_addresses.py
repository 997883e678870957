"""Where hosts listen, and what is required there."""

from __future__ import annotations

from pathlib import Path

import pytest

from voice_gateway.errors import ConfigurationError
from voice_gateway.hosts.addresses import (
    HostAddress,
    parse_host_address,
    server_credentials,
    worker_credentials,
)


def test_a_unix_path_is_relative_to_the_settings() -> None:
    assert parse_host_address("unix:a.sock", Path("/etc/voice")) == HostAddress(Path("/etc/voice/a.sock"))


@pytest.mark.parametrize("text", ["tcp:127.0.0.1:7000", "tcp:localhost:7000", "tcp:[::1]:7000"])
def test_loopback_needs_neither_token_nor_tls(text: str) -> None:
    address = parse_host_address(text)
    assert str(address) == text
    assert worker_credentials(address, None, None).tls is None
    assert server_credentials(address, None, None, None).tls is None


@pytest.mark.parametrize("text", ["agents.sock", "unix:", "tcp:7000", "tcp:host:0", f"unix:{'a' * 120}"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_host_address(text)


def test_a_worker_needs_a_token_beyond_its_machine() -> None:
    address = parse_host_address("tcp:192.0.2.1:7000")
    with pytest.raises(ConfigurationError, match="token_file is required"):
        worker_credentials(address, None, None)
    assert worker_credentials(address, "secret", None).tls is not None


def test_a_host_needs_token_and_certificate_beyond_its_machine() -> None:
    with pytest.raises(ConfigurationError, match="--token-file, --tls-certificate and --tls-key are required"):
        server_credentials(parse_host_address("tcp:0.0.0.0:7000"), "secret", None, None)


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(worker_credentials(HostAddress(Path("a.sock")), "secret", None))


def test_each_process_has_an_address() -> None:
    assert str(parse_host_address("unix:agents.sock").numbered(2)) == "unix:agents-2.sock"
    assert str(parse_host_address("tcp:127.0.0.1:7000").numbered(2)) == "tcp:127.0.0.1:7002"
