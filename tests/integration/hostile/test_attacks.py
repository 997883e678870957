"""What is thrown at a public UDP port: the cost is bounded in bytes and objects, and nothing raises."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aioquic._buffer import Buffer
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode, QuicPacketType, pull_quic_header

from quiclb import SppHeader, wrap
from testbed.waiting import until
from tests.integration.support.udp import Client, Socket, client_and_initial, initial, issuer, serving
from tests.unit.voicelink.quic.harness import SERVER_ADDRESS, client_configuration, connected, seeded
from voice_gateway.endpoint.admission import address_validation
from voice_gateway.endpoint.admission.address_validation import NETWORK_FAILURES
from voice_gateway.endpoint.endpoint import Endpoint
from voice_gateway.endpoint.settings import SharedSecrets
from voicelink.h3.webtransport import SessionOpened
from voicelink.quic import Connection, PeerClosed
from voicelink.quic.cid_source import RandomCids
from voicelink.quic.events import ConnectionTerminated

pytestmark = pytest.mark.usefixtures("both_ways")

KEY = b"s" * 32
UNHURRIED: dict[str, Any] = {"handshake_timeout_s": 60.0, "loaded_handshake_timeout_s": 60.0}
"""No handshake ends meanwhile by its age."""


def undecryptable(seed: int) -> bytes:
    """An Initial whose payload was overwritten."""
    datagram = initial(seed)
    return datagram[:200] + os.urandom(100) + datagram[300:]


def assert_unharmed(endpoint: Endpoint) -> None:
    assert endpoint.counters.internal_errors == 0


# Floods of new connections


async def test_an_initial_flood_is_answered_with_retries_that_keep_no_state() -> None:
    answers: list[bytes] = []
    async with serving(
        retry_after_half_open=5, max_half_open=8, secrets=SharedSecrets(retry=(KEY,)), **UNHURRIED
    ) as endpoint:
        flooder = await Socket.open(lambda datagram, _: answers.append(datagram))
        for seed in range(40):
            flooder.send(initial(seed), endpoint.address)
        await until(lambda: endpoint.counters.datagrams_received == 40)
        assert endpoint.connection_count == 5
        assert endpoint.counters.retries_sent == 35
        client = await Client(endpoint.address or ("", 0)).connect()
        await until(lambda: client.has(SessionOpened))
        assert endpoint.counters.retry_tokens_accepted == 1
        client.close()
        flooder.close()
        assert_unharmed(endpoint)


async def test_the_connection_id_of_a_retry_is_routable_and_not_the_clients() -> None:
    answers: list[bytes] = []
    cids = issuer(7)
    async with serving(cids=cids, retry_after_half_open=0) as endpoint:
        socket = await Socket.open(lambda datagram, _: answers.append(datagram))
        first = initial(1)
        socket.send(first, endpoint.address)
        await until(lambda: answers)
        retry = pull_quic_header(Buffer(data=answers[0]))
        asked = pull_quic_header(Buffer(data=first))
        assert retry.packet_type is QuicPacketType.RETRY
        assert cids.owns(retry.source_cid)
        assert retry.source_cid != asked.destination_cid
        socket.close()


async def test_a_retry_of_one_worker_is_good_at_another() -> None:
    async with (
        serving(cids=issuer(1), retry_after_half_open=0, secrets=SharedSecrets(retry=(KEY,))) as first,
        serving(cids=issuer(2), retry_after_half_open=0, secrets=SharedSecrets(retry=(KEY,))) as second,
    ):
        client = Client(first.address or ("", 0))
        received = client._received
        client._received = lambda datagram, address: received(datagram, client.server)  # type: ignore[method-assign]
        await client.connect()
        send = client.sockets[0].send
        client.sockets[0].send = lambda datagram, address: send(datagram, second.address)  # type: ignore[method-assign]
        await until(lambda: client.has(SessionOpened))
        assert (first.counters.retries_sent, second.counters.retry_tokens_accepted) == (1, 1)
        client.close()


async def test_a_retry_token_used_from_another_address_is_refused() -> None:
    answers: list[bytes] = []
    async with serving(retry_after_half_open=0) as endpoint:
        victim = await Socket.open(lambda datagram, _: answers.append(datagram))
        client = Connection(configuration=client_configuration(), cids=RandomCids(8, seeded(1)))
        client.connect(SERVER_ADDRESS, 0.0)
        victim.send(client.datagrams_to_send(0.0)[0][0], endpoint.address)
        await until(lambda: answers)
        client.receive_datagram(answers.pop(), SERVER_ADDRESS, 0.1)
        thief = await Socket.open(lambda datagram, _: answers.append(datagram))
        thief.send(client.datagrams_to_send(0.1)[0][0], endpoint.address)
        await until(lambda: answers)
        client.receive_datagram(answers.pop(), SERVER_ADDRESS, 0.2)
        closed = [event for _ in range(3) if isinstance(event := client.next_event(), PeerClosed)]
        assert closed[0].error_code == QuicErrorCode.INVALID_TOKEN
        assert (endpoint.counters.retry_tokens_rejected, endpoint.connection_count) == (1, 0)
        victim.close()
        thief.close()


async def test_beyond_the_cap_on_half_open_connections_the_oldest_is_evicted_and_told() -> None:
    answers: list[tuple[bytes, bytes]] = []
    async with serving(retry_after_half_open=100, max_half_open=4, handshake_timeout_s=3.0) as endpoint:
        flooder = await Socket.open(lambda datagram, _: answers.append((datagram[6:14], datagram)))
        clients = [client_and_initial(seed) for seed in range(10)]
        for _, datagram in clients:
            flooder.send(datagram, endpoint.address)
        await until(lambda: endpoint.counters.half_open_evicted == 6)
        assert endpoint.half_open_count == endpoint.connection_count == 4
        oldest, _ = clients[0]
        await until(lambda: any(cid == oldest.host_cid for cid, _ in answers))
        await until(lambda: endpoint.connection_count == 0)
        assert endpoint.counters.handshake_timeouts == 4
        assert not set(endpoint._cid_table)
        for cid, datagram in answers:
            if cid == oldest.host_cid:
                oldest.receive_datagram(datagram, SERVER_ADDRESS, 0.1)
        closed = [event for _ in range(9) if isinstance(event := oldest.next_event(), PeerClosed)]
        assert closed[0].error_code == QuicErrorCode.CONNECTION_REFUSED
        flooder.close()


async def test_at_the_cap_on_all_connections_new_ones_are_refused() -> None:
    async with serving(max_connections=1) as endpoint:
        first = await Client(endpoint.address or ("", 0)).connect()
        await until(lambda: first.has(SessionOpened))
        second = await Client(endpoint.address or ("", 0)).connect()
        await until(lambda: second.has(PeerClosed))
        assert endpoint.counters.refused_full >= 1
        first.close()
        second.close()


async def test_initials_that_cannot_be_decrypted_leave_nothing_behind() -> None:
    async with serving() as endpoint:
        flooder = await Socket.open(lambda datagram, _: None)
        for seed in range(8):
            flooder.send(undecryptable(seed), endpoint.address)
        await until(lambda: endpoint.counters.undecryptable_initials == 8)
        assert endpoint.counters.connections_opened == 0
        assert endpoint.connection_count == endpoint.half_open_count == 0
        assert not set(endpoint._cid_table)
        flooder.close()


async def test_a_network_that_sends_undecryptable_initials_is_answered_with_retry_and_gets_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # so slow that no failure is forgotten while the test runs
    monkeypatch.setattr(address_validation, "NETWORK_FAILURES", replace(NETWORK_FAILURES, per_s=0.001))
    async with serving() as endpoint:
        flooder = await Socket.open(lambda datagram, _: None)
        for seed in range(20):
            flooder.send(undecryptable(seed), endpoint.address)
        await until(lambda: endpoint.counters.datagrams_received == 20)
        assert endpoint.counters.undecryptable_initials == NETWORK_FAILURES.burst
        assert endpoint.counters.retries_sent == 20 - NETWORK_FAILURES.burst
        neighbour = await Client(endpoint.address or ("", 0)).connect()
        await until(lambda: neighbour.has(SessionOpened))
        assert endpoint.counters.retry_tokens_accepted == 1
        other_host = await Client(endpoint.address or ("", 0)).connect(host="127.0.0.2")
        await until(lambda: other_host.has(SessionOpened))
        assert endpoint.counters.retry_tokens_accepted == 1
        for each in (neighbour, other_host, flooder):
            each.close()


async def test_networks_that_pass_retry_and_fall_silent_do_not_shut_out_a_newcomer_of_another() -> None:
    async with serving(retry_after_half_open=2, max_half_open=8, **UNHURRIED) as endpoint:
        silent: list[Socket] = []
        for host in ("127.0.0.2", "127.0.0.3"):
            for _ in range(10):
                client, first = client_and_initial(len(silent))
                socket = await Socket.open(lambda _datagram, _address: None, host)
                socket._received = answering_retry_alone(client, socket)
                socket.send(first, endpoint.address)
                silent.append(socket)
        await until(lambda: endpoint.counters.connections_opened == 20)
        assert endpoint.half_open_count == 8
        newcomer = await Client(endpoint.address or ("", 0)).connect()
        await until(lambda: newcomer.has(SessionOpened))
        assert endpoint.counters.half_open_evicted == 13
        newcomer.close()
        for each in silent:
            each.close()


def answering_retry_alone(client: Connection, socket: Socket) -> Callable[[bytes, Any], None]:
    """A receiver that sends the second Initial and nothing after it."""

    def received(datagram: bytes, address: Any) -> None:
        if datagram[0] & 0xF0 == 0xF0:
            client.receive_datagram(datagram, SERVER_ADDRESS, 0.0)
            for answer, _ in client.datagrams_to_send(0.0):
                socket.send(answer, address)

    return received


async def test_under_load_a_handshake_has_less_time() -> None:
    async with serving(max_half_open=4, handshake_timeout_s=60.0, loaded_handshake_timeout_s=0.05) as endpoint:
        flooder = await Socket.open(lambda datagram, _: None)
        for seed in range(3):
            flooder.send(initial(seed), endpoint.address)
        await until(lambda: endpoint.counters.handshake_timeouts >= 1)
        await until(lambda: endpoint.half_open_count <= 2)
        flooder.close()


async def test_closing_a_connection_forgets_its_connection_ids_and_no_others() -> None:
    async with serving() as endpoint:
        stays = await Client(endpoint.address or ("", 0)).connect()
        leaves = await Client(endpoint.address or ("", 0)).connect()
        await until(lambda: stays.has(SessionOpened) and leaves.has(SessionOpened))
        before = set(endpoint._cid_table)
        [gone] = [
            each for each in endpoint._connections if (each.quic.get_peer_address() or ("", 0))[1] == port_of(leaves)
        ]
        own = endpoint._cid_table.of(gone)
        gone.discard()
        assert own
        assert set(endpoint._cid_table) == before - own
        assert all(each in endpoint._connections for each in map(endpoint._cid_table.find, endpoint._cid_table))
        stays.close()
        leaves.close()


def port_of(client: Client) -> int:
    return client.sockets[0].address[1]


async def test_a_version_negotiation_is_smaller_than_what_asks_for_it_and_never_answers_another() -> None:
    answers: list[bytes] = []
    async with serving() as endpoint:
        socket = await Socket.open(lambda datagram, _: answers.append(datagram))
        asking = b"\xc0" + 0x1A2A3A4A.to_bytes(4, "big") + b"\x14" + bytes(20) + b"\x14" + bytes(20)
        socket.send(asking.ljust(1199, b"\0"), endpoint.address)
        socket.send(b"\xc0\0\0\0\0" + asking[5:].ljust(1300, b"\0"), endpoint.address)
        socket.send(asking.ljust(1200, b"\0"), endpoint.address)
        await until(lambda: answers)
        await asyncio.sleep(0)
        assert len(answers) == endpoint.counters.version_negotiations_sent == 1
        assert len(answers[0]) < 100
        assert endpoint.counters.malformed == 2
        socket.close()


# Stateless resets


async def test_stateless_resets_are_limited_and_smaller_than_their_trigger() -> None:
    answers: list[bytes] = []
    cids = issuer(1)
    async with serving(cids=cids, max_resets_per_s=5.0) as endpoint:
        socket = await Socket.open(lambda datagram, _: answers.append(datagram))
        began_at = asyncio.get_running_loop().time()
        for _ in range(200):
            socket.send(b"\x40" + cids.issue() + bytes(30), endpoint.address)
        counters = endpoint.counters
        await until(lambda: counters.stateless_resets_sent + counters.stateless_resets_suppressed == 200)
        elapsed_s = asyncio.get_running_loop().time() - began_at
        assert 5 <= counters.stateless_resets_sent <= 6 + 5 * elapsed_s
        await until(lambda: len(answers) == counters.stateless_resets_sent)
        assert {len(each) for each in answers} == {43}
        socket.close()


async def test_a_reset_never_answers_a_reset() -> None:
    cids = issuer(1)
    async with serving(cids=cids) as one, serving(cids=issuer(1)) as other:
        # a reflector: what one endpoint answers is carried to the other, as a spoofed source would do
        relay: Socket = await Socket.open(lambda datagram, source: relay.send(datagram, turn(source)))

        def turn(source: Any) -> Any:
            return other.address if source == one.address else one.address

        relay.send(b"\x40" + cids.issue() + bytes(200), one.address)
        await until(lambda: one.counters.stateless_resets_sent)
        await until(lambda: other.counters.datagrams_received)
        assert other.counters.stateless_resets_sent == 0
        assert one.counters.stateless_resets_sent == 1
        relay.close()


# Garbage


def garbage(seed: int) -> list[bytes]:
    """Random datagrams, and every kind of real one cut and flipped."""
    rng = random.Random(seed)
    real = initial(seed)
    found = [rng.randbytes(rng.randrange(0, 1400)) for _ in range(150)]
    found += [bytes((0x40 | rng.randrange(64),)) + rng.randbytes(rng.randrange(60)) for _ in range(50)]
    found += [real[: rng.randrange(len(real))] for _ in range(100)]
    for _ in range(60):
        index = rng.randrange(60)
        found.append(real[:index] + bytes((real[index] ^ 1 << rng.randrange(8),)) + real[index + 1 :])
    return found


@pytest.mark.parametrize("seed", [1, 2])
async def test_garbage_on_both_sockets_is_counted_and_logged_nowhere(
    seed: int, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(inner_host="127.0.0.1", trusted_proxies=("127.0.0.11",)) as endpoint:
        outside = await Socket.open(lambda datagram, _: None)
        balancer = await Socket.open(lambda datagram, _: None, "127.0.0.11")
        datagrams = garbage(seed)
        sent = 0
        for datagram in datagrams:
            wrapped = wrap(SppHeader(("198.51.100.7", 40001), ("192.0.2.1", 4433)), datagram)
            for socket, raw, address in (
                (outside, datagram, endpoint.address),
                (balancer, datagram, endpoint.inner_address),
                (balancer, wrapped, endpoint.inner_address),
            ):
                socket.send(raw, address)
                sent += 1
            await until(lambda sent=sent: endpoint.counters.datagrams_received == sent)  # type: ignore[misc]
        assert_unharmed(endpoint)
        assert endpoint.counters.malformed > 100
        client = await Client(endpoint.address or ("", 0)).connect()
        await until(lambda: client.has(SessionOpened))
        client.close()
        outside.close()
        balancer.close()
    assert [record for record in caplog.records if record.name != "asyncio"] == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("seed", range(3))
def test_random_frames_inside_good_packets_close_the_connection_and_raise_nothing(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(20):
        pair = connected()
        for _ in range(4):
            pair.client._datagrams_pending.append(b"x")
            payload = rng.randbytes(rng.randrange(1, 200))
            _inject(pair.client, payload, pair.now, pair.server)
        pair.now += 30
        pair.fire_timers()


def _inject(client: QuicConnection, payload: bytes, now: float, server: QuicConnection) -> None:
    """Send `payload` as the frames of a packet under the client's keys."""
    from aioquic import tls
    from aioquic.quic.packet_builder import QuicPacketBuilder

    builder = QuicPacketBuilder(
        host_cid=client.host_cid,
        peer_cid=client._peer_cid.cid,
        version=client._version or 1,
        is_client=True,
        max_datagram_size=1200,
        packet_number=client._packet_number,
    )
    builder.start_packet(QuicPacketType.ONE_RTT, client._cryptos[tls.Epoch.ONE_RTT])
    builder._buffer.push_bytes(payload)
    datagrams, _ = builder.flush()
    client._packet_number = builder.packet_number
    server.receive_datagram(datagrams[0], ("198.51.100.7", 40001), now)


# Streams


def test_ten_bytes_at_sparse_offsets_cost_little_memory_and_raise_no_limit() -> None:
    pair = connected()
    pair.client.send_stream_data(0, b"x")
    pair.exchange(2)
    tracemalloc.start()
    for power in range(10):
        offset = min((1 << 20) - 2, 1 << (11 + power))
        payload = b"\x0e\x00" + (offset | 2 << 30).to_bytes(4, "big") + b"\x01x"
        _inject(pair.client, payload, pair.now, pair.server)
        pair.server.datagrams_to_send(pair.now + 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not pair.server.is_ended
    assert peak < 1 << 20
    assert pair.server._local_max_data.value == pair.server.configuration.max_data


def test_an_offset_beyond_the_window_is_a_flow_control_error() -> None:
    pair = connected()
    _inject(pair.client, b"\x0e\x00" + (1 << 21 | 2 << 30).to_bytes(4, "big") + b"\x01x", pair.now, pair.server)
    pair.now += 30
    pair.server.datagrams_to_send(pair.now - 29)
    pair.fire_timers()
    [ended] = [event for event in pair.server_events if isinstance(event, ConnectionTerminated)]
    assert ended.error_code == QuicErrorCode.FLOW_CONTROL_ERROR


def test_a_comb_of_single_bytes_ends_the_connection_at_the_budget() -> None:
    pair = connected()
    offset = 1
    while not pair.server.is_ended:
        frames = b""
        for _ in range(100):
            frames += b"\x0e\x00" + (offset | 2 << 30).to_bytes(4, "big") + b"\x01x"
            offset += 2
        _inject(pair.client, frames, pair.now, pair.server)
        assert offset < 5_000
    assert pair.server._windows.budget.chunks == pair.server._windows.budget.max_chunks


def test_headers_in_many_fragments_are_refused_at_the_first() -> None:
    from voicelink.h3.webtransport import WebTransportLayer

    pair = connected()
    layer = WebTransportLayer(pair.server)
    pair.client.send_stream_data(0, b"\x01" + (2_400_000 | 2 << 30).to_bytes(4, "big"))
    pair.client.send_stream_data(0, bytes(100_000))
    pair.server_events.clear()
    pair.client_sends()
    for event in pair.server_events:
        layer.handle_event(event)
    assert pair.server.is_ended
    assert all(len(stream.buffer) < 10_000 for stream in layer._h3._stream.values())
