"""Every place that reads `host:port` takes and refuses the same texts: `quiclb.net.address` reads them all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quiclb import ConfigError, ScrapeError
from quiclb.cli.scrape import metrics_url
from quiclb.net.address import parse_address, parse_host_port
from tests.unit.quiclb.net.test_address import ADDRESSES, REFUSED
from voice_client.errors import InvalidSetting
from voice_client.transport.target import parse_url
from voice_gateway.endpoint.sockets.client_paths import TrustedProxies
from voice_gateway.errors import ConfigurationError

Reader = Callable[[str], tuple[str, int]]

URL_SYNTAX = {"", "h:", "a/b:1"}
"""Refused as `host:port`; in a URL the empty port and the slash have a meaning of their own."""


def plain(text: str) -> tuple[str, int]:
    return parse_host_port(text, 443)


def url(text: str) -> tuple[str, int]:
    target = parse_url(f"https://{text}/v1/voice")
    return target.host, target.port


def metrics(text: str) -> tuple[str, int]:
    assert metrics_url(text) == f"http://{text}/metrics"
    return plain(text)


@pytest.mark.parametrize(("read", "error"), [(plain, ConfigError), (url, InvalidSetting), (metrics, ScrapeError)])
def test_all_readers_of_host_and_port_agree(read: Reader, error: type[Exception]) -> None:
    for text, address in ADDRESSES:
        assert read(text) == address
    for text in {text for text, _ in REFUSED} - (set() if read is plain else URL_SYNTAX):
        with pytest.raises(error):
            read(text)


@pytest.mark.parametrize("text", ["10.0.0.1:4433", "[fd00::2]:4433"])
def test_a_trusted_load_balancer_is_read_as_every_address(text: str) -> None:
    assert TrustedProxies((text,)).has(parse_address(text))


@pytest.mark.parametrize(
    "text", ["", "lb.test:4433", "10.0.0.1:", "10.0.0.1:0", "[10.0.0.1]:1", "fd00::2:x", "[fd00::2]"]
)
def test_what_is_no_trusted_load_balancer_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match="trusted proxy"):
        TrustedProxies((text,))
