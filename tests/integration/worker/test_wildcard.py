"""A worker on a wildcard address answers from the address it was called at (RFC 9000 sections 5.1.1 and 9)."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

from quiclb import SppHeader, unwrap, wrap
from quiclb.net.spp import SppFault
from testbed.waiting import until
from tests.integration.support.udp import Client, Sessions, Socket, initial, issuer, serving
from voice_gateway.endpoint.endpoint import Endpoint
from voicelink.h3.webtransport import SessionOpened
from voicelink.quic import PeerClosed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="IP_PKTINFO is Linux's")

SECOND = "127.0.0.2"
WILDCARDS = ["0.0.0.0", "::"]


def port_of(endpoint: Endpoint) -> int:
    assert endpoint.address
    return endpoint.address[1]


async def asked(endpoint: Endpoint, datagram: bytes, host: str = SECOND) -> tuple[bytes, Any]:
    """Send one datagram to this address, and return what answers and from where."""
    answers: list[tuple[bytes, Any]] = []
    client = await Socket.open(lambda answer, source: answers.append((answer, source)))
    client.send(datagram, (host, port_of(endpoint)))
    await until(lambda: answers)
    client.close()
    return answers[0]


@pytest.mark.parametrize("wildcard", WILDCARDS)
async def test_a_client_is_answered_from_the_second_address_it_called(wildcard: str) -> None:
    sessions = Sessions()
    async with serving(sessions, host=wildcard) as endpoint:
        client = await Client((SECOND, port_of(endpoint))).connect()
        sources: set[str] = set()
        received = client._received

        def noted(datagram: bytes, address: Any) -> None:
            sources.add(address[0])
            received(datagram, address)

        client.sockets[0]._received = noted
        await until(lambda: client.has(SessionOpened))
        client.speak(5)
        await until(lambda: client.pongs == list(range(5)))
        assert sources == {SECOND}
        assert sessions.all[0].transport is not None
        client.close()


@pytest.mark.parametrize("wildcard", WILDCARDS)
async def test_a_retry_leaves_from_the_address_that_was_called(wildcard: str) -> None:
    async with serving(host=wildcard, retry_after_half_open=0) as endpoint:
        answer, source = await asked(endpoint, initial(1))
        assert endpoint.counters.retries_sent == 1
        assert answer[0] & 0xF0 == 0xF0
        assert source == (SECOND, port_of(endpoint))


@pytest.mark.parametrize("wildcard", WILDCARDS)
async def test_version_negotiation_resets_and_refusals_leave_from_the_address_that_was_called(wildcard: str) -> None:
    cids = issuer(1)
    async with serving(host=wildcard, cids=cids) as endpoint:
        asking = (b"\xc0" + 0x1A2A3A4A.to_bytes(4, "big") + b"\x08" + bytes(8) + b"\x00").ljust(1200, b"\0")
        for datagram in (asking, b"\x40" + cids.issue() + bytes(30)):
            _, source = await asked(endpoint, datagram)
            assert source == (SECOND, port_of(endpoint))
        endpoint.stop_accepting()
        _, source = await asked(endpoint, initial(1))
        assert source == (SECOND, port_of(endpoint))
        counters = endpoint.counters
        assert (counters.version_negotiations_sent, counters.stateless_resets_sent, counters.refused_stopped) == (
            1,
            1,
            1,
        )
        assert counters.send_errors == 0


async def test_the_close_of_an_endpoint_leaves_from_the_address_that_was_called() -> None:
    async with serving(host="0.0.0.0") as endpoint:
        client = await Client((SECOND, port_of(endpoint))).connect()
        await until(lambda: client.has(SessionOpened))
    await until(lambda: client.has(PeerClosed))
    client.close()


async def test_a_client_may_migrate_while_it_calls_the_second_address() -> None:
    async with serving(host="0.0.0.0") as endpoint:
        client = await Client((SECOND, port_of(endpoint))).connect()
        await until(lambda: client.has(SessionOpened) and client.quic.can_migrate)
        await client.migrate("127.0.0.3")
        client.speak()
        await until(lambda: endpoint.counters.path_changes == 1)
        await until(lambda: client.pongs == [0])
        client.close()


async def test_a_local_address_that_changes_is_another_path_and_is_validated() -> None:
    async with serving(host="0.0.0.0") as endpoint:
        client = await Client((SECOND, port_of(endpoint))).connect()
        await until(lambda: client.has(SessionOpened) and client.quic.can_migrate)
        # a middlebox that changes the server's address, in both directions
        send, received = client.sockets[0].send, client._received
        client.sockets[0].send = lambda datagram, address: send(datagram, ("127.0.0.4", port_of(endpoint)))  # type: ignore[method-assign]
        sources: list[str] = []

        def translated(datagram: bytes, address: Any) -> None:
            sources.append(address[0])
            received(datagram, client.server)

        client.sockets[0]._received = translated
        client.speak()
        await until(lambda: endpoint.counters.path_changes == 1)
        await until(lambda: client.pongs == [0])
        assert sources[-1] == "127.0.0.4"
        client.close()


@pytest.mark.parametrize("wildcard", WILDCARDS)
async def test_a_load_balancer_is_answered_from_the_inner_address_it_sent_to(wildcard: str) -> None:
    answers: list[tuple[bytes, Any]] = []
    async with serving(
        host=None, inner_host=wildcard, trusted_proxies=("127.0.0.1",), retry_after_half_open=0
    ) as endpoint:
        assert endpoint.inner_address
        target = SECOND, endpoint.inner_address[1]
        balancer = await Socket.open(lambda answer, source: answers.append((answer, source)))
        balancer.send(wrap(SppHeader(("198.51.100.7", 40001), ("192.0.2.1", 443)), initial(1)), target)
        await until(lambda: answers)
        unwrapped = unwrap(answers[0][0])
        assert not isinstance(unwrapped, SppFault)
        assert unwrapped[0].client == ("198.51.100.7", 40001)
        assert answers[0][1] == target
        balancer.close()


async def test_a_wildcard_port_that_is_taken_is_named() -> None:
    from voice_gateway.errors import BindError

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        with pytest.raises(BindError, match=rf"UDP 0\.0\.0\.0:{taken.getsockname()[1]} cannot be opened: "):
            async with serving(host="0.0.0.0", port=taken.getsockname()[1]):
                pass
