"""The fast path against aioquic's own way: twins get the same packets, and must do the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aioquic import tls
from aioquic.buffer import encode_uint_var as varint
from aioquic.quic.stream import QuicStream
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.voicelink.quic.connection_state import differences, state_of
from tests.unit.voicelink.quic.harness import CLIENT_ADDRESS, NOW, SERVER_ADDRESS, Pair, connected, pem
from voice_gateway.endpoint.tls.identity import TlsIdentity
from voicelink.quic import Connection, ConnectionOptions
from voicelink.quic.events import QuicEvent

CLIENT_SECRET, SERVER_SECRET = bytes(range(32)), bytes(range(32, 64))
ELSEWHERE = ("203.0.113.9", 4000)
KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
"""Its signatures are of one size, so that the handshakes of twins take the same bytes."""


@dataclass
class Twins:
    """Two connections in one state, of which the first has a fast path; `peer` forges packets for both."""

    pairs: list[Pair]
    is_client: bool
    now: float = 100.0
    number: int = 1000
    kept: list[bytes] = field(default_factory=list)
    offsets: dict[int, int] = field(default_factory=dict)

    @property
    def connections(self) -> list[Connection]:
        return [pair.client if self.is_client else pair.server for pair in self.pairs]

    @property
    def peer(self) -> Connection:
        return self.pairs[0].server if self.is_client else self.pairs[0].client

    @property
    def address(self) -> Any:
        return SERVER_ADDRESS if self.is_client else CLIENT_ADDRESS

    def both(self, act: Callable[[Connection], Any]) -> Any:
        """Do the same to both, and compare what comes of it, with all events and the whole state."""
        fast, plain = (outcome(act, each) for each in self.connections)
        assert fast == plain
        fast_events, plain_events = (list(events(each)) for each in self.connections)
        assert fast_events == plain_events
        fast_state, plain_state = (state_of(each) for each in self.connections)
        assert list(differences(fast_state, plain_state)) == []
        return fast

    def forge(self, payload: bytes, *, number: int | None = None, number_bytes: int = 2, spin: bool = False) -> bytes:
        if number is None:
            number, self.number = self.number, self.number + 1
        pair = self.peer._cryptos[tls.Epoch.ONE_RTT]
        if pair.send.key_phase != self.connections[0]._cryptos[tls.Epoch.ONE_RTT].recv.key_phase:
            pair._update_key("remote_update")
        first = 0x40 | spin << 5 | pair.send.key_phase << 2 | number_bytes - 1
        cid = self.connections[0].host_cid
        header = bytes((first,)) + cid + (number % (1 << 8 * number_bytes)).to_bytes(number_bytes, "big")
        datagram: bytes = pair.send.encrypt_packet(header, payload.ljust(4, b"\0"), number)
        return datagram

    def receive(self, datagram: bytes, address: Any = None) -> None:
        self.both(lambda each: each.receive_datagram(datagram, address or self.address, self.now))

    def send(self) -> list[tuple[bytes, Any]]:
        sent: list[tuple[bytes, Any]] = self.both(lambda each: each.datagrams_to_send(self.now))
        self.both(lambda each: each.get_timer())
        return sent

    def fire(self) -> None:
        at = self.both(lambda each: each.get_timer())
        if at is not None and at <= self.now:
            self.both(lambda each: each.handle_timer(self.now))


def outcome(act: Callable[[Connection], Any], connection: Connection) -> Any:
    try:
        return act(connection)
    except (ValueError, RuntimeError) as error:
        return repr(error)


def events(connection: Connection) -> Iterator[QuicEvent]:
    while (event := connection.next_event()) is not None:
        yield event


def handshaken(is_client: bool, has_fast_path: bool, cipher: tls.CipherSuite) -> Pair:
    """A pair whose one side lets little be sent to it before it raises its limits: that of the twins."""
    narrow, wide = {"max_data": 6000, "max_stream_data": 4000}, {"max_data": 1 << 20, "max_stream_data": 1 << 20}
    identity = TlsIdentity.from_pem(*pem(key=KEY), now=NOW)
    pair = connected(
        options=ConnectionOptions(has_fast_path=has_fast_path, max_datagram_frames_per_s=20),
        server={
            "certificate": identity.certificate,
            "private_key": identity.private_key,
            "cipher_suites": [cipher],
            **(wide if is_client else narrow),
        },
        client={"cipher_suites": [cipher], **(narrow if is_client else wide)},
    )
    for connection, stream_id in ((pair.client, 0), (pair.client, 2), (pair.server, 1), (pair.server, 3)):
        connection.send_stream_data(stream_id, b"begin")
    pair.exchange(12)
    for connection, receive, send in (
        (pair.client, SERVER_SECRET, CLIENT_SECRET),
        (pair.server, CLIENT_SECRET, SERVER_SECRET),
    ):
        keys = connection._cryptos[tls.Epoch.ONE_RTT]
        for half, secret in ((keys.recv, receive), (keys.send, send)):
            half.setup(cipher_suite=cipher, secret=secret, version=half.version or 1)
        connection._steady.end()
        connection._crypto_streams[tls.Epoch.HANDSHAKE] = QuicStream()  # that of the client has a secret in it
        list(events(connection))
    return pair


def twins(is_client: bool, cipher: tls.CipherSuite = tls.CipherSuite.AES_128_GCM_SHA256) -> Twins:
    made = Twins([handshaken(is_client, has_fast_path, cipher) for has_fast_path in (True, False)], is_client)
    made.offsets = dict.fromkeys((0, 1, 2, 3), 5)
    made.both(lambda each: each.datagrams_to_send(made.now))
    return made


@pytest.fixture
def deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal challenges, and equal turns of streams, which aioquic keeps in a set."""
    monkeypatch.setattr("aioquic.quic.connection.os.urandom", lambda count: bytes(count))
    monkeypatch.setattr(QuicStream, "__hash__", lambda self: self.stream_id or 0)


# Frames, as a function of the twins' state

Frame = Callable[[Twins], bytes]
STREAMS = st.sampled_from([0, 0, 2, 2, 1, 3, 4, 6])


def stream(stream_id: int, gap: int, length: int, *, is_last: bool = False, has_length: bool = True) -> Frame:
    def encode(state: Twins) -> bytes:
        at = max(0, state.offsets.get(stream_id, 0) + gap)
        state.offsets[stream_id] = max(state.offsets.get(stream_id, 0), at + length)
        kind = 8 | 4 * bool(at) | 2 * has_length | is_last
        head = bytes((kind,)) + varint(stream_id) + (varint(at) if at else b"")
        return head + (varint(length) if has_length else b"") + bytes(at + n & 255 for n in range(length))

    return encode


def ack(newest_back: int, first_range: int, *ranges: tuple[int, int], delay: int = 100) -> Frame:
    def encode(state: Twins) -> bytes:
        largest = max(0, state.connections[0]._loss.largest_sent[tls.Epoch.ONE_RTT] - newest_back)
        first = min(first_range, largest)
        more = b"".join(varint(gap) + varint(length) for gap, length in ranges)
        return b"\x02" + b"".join(map(varint, (largest, delay, len(ranges), first))) + more

    return encode


def raw(data: bytes) -> Frame:
    return lambda state: data


def limit(kind: int, *values: int) -> Frame:
    return raw(bytes((kind,)) + b"".join(map(varint, values)))


SMALL = st.integers(0, 3)
EVERY = 1000
COMMON = st.one_of(
    st.builds(stream, STREAMS, st.just(0), st.integers(1, 400)),
    st.builds(stream, STREAMS, st.just(0), st.integers(1, 400)),
    st.builds(ack, st.just(0), st.sampled_from([0, 1, 2, EVERY])),
    st.builds(ack, SMALL, SMALL, st.tuples(SMALL, SMALL)),
    st.just(raw(b"\x01")),
    st.builds(lambda count: raw(bytes(count)), st.integers(1, 20)),
    st.builds(lambda data: raw(b"\x31" + varint(len(data)) + data), st.binary(max_size=60)),
    st.builds(limit, st.just(0x10), st.integers(0, 100_000)),
)
RARE = st.one_of(
    st.builds(
        stream, STREAMS, st.integers(-300, 300), st.integers(0, 900), is_last=st.booleans(), has_length=st.booleans()
    ),
    st.builds(ack, st.integers(-1, 5), st.integers(0, 9), st.tuples(SMALL, SMALL), st.tuples(SMALL, SMALL)),
    st.builds(lambda data: raw(b"\x30" + data), st.binary(max_size=30)),
    st.builds(limit, st.just(0x11), STREAMS, st.integers(0, 100_000)),
    st.builds(limit, st.sampled_from([0x12, 0x13]), st.integers(0, 300)),
    st.builds(limit, st.just(0x04), STREAMS, st.just(7), st.integers(0, 2000)),
    st.builds(limit, st.just(0x05), STREAMS, st.just(9)),
    st.builds(limit, st.just(0x14), st.integers(0, 9000)),
    st.just(raw(b"\x1a12345678")),
    st.builds(raw, st.binary(min_size=1, max_size=12)),
    st.builds(limit, st.just(0x1D), st.just(3), st.just(0)),
)


@dataclass(frozen=True)
class Received:
    """A packet comes: in time, after others were lost, late, or from another address."""

    frames: tuple[Frame, ...]
    lost_before: int = 0
    is_late: bool = False
    is_elsewhere: bool = False
    number_bytes: int = 2
    spin: bool = False

    def __call__(self, state: Twins) -> None:
        state.number += self.lost_before
        payload = b"".join(frame(state) for frame in self.frames)[:1300]
        datagram = state.forge(payload, number_bytes=self.number_bytes, spin=self.spin)
        if self.is_late:
            state.kept.append(datagram)
        else:
            state.receive(datagram, ELSEWHERE if self.is_elsewhere else None)


def late(state: Twins) -> None:
    if state.kept:
        state.receive(state.kept.pop(0))


def twice(state: Twins) -> None:
    datagram = state.forge(b"\x01")
    state.receive(datagram)
    state.receive(datagram)


@dataclass(frozen=True)
class Damaged:
    """A bit of a packet is another."""

    at: int

    def __call__(self, state: Twins) -> None:
        datagram = bytearray(state.forge(b"\x01" + bytes(20)))
        datagram[self.at % len(datagram)] ^= 1 << self.at % 8
        state.receive(bytes(datagram))


@dataclass(frozen=True)
class Acted:
    """The application does something."""

    act: Callable[[Connection], Any]

    def __call__(self, state: Twins) -> None:
        state.both(self.act)


@dataclass(frozen=True)
class Passed:
    """Time goes by; timers fire, and what is due is sent."""

    seconds: float

    def __call__(self, state: Twins) -> None:
        state.now += self.seconds
        state.fire()
        state.send()


def sent(state: Twins) -> None:
    state.send()


def set_unread(byte_count: int) -> Callable[[Connection], None]:
    def act(connection: Connection) -> None:
        connection.unread_bytes = byte_count

    return act


def received(frame: st.SearchStrategy[Frame], most: int) -> st.SearchStrategy[Received]:
    return st.builds(
        Received,
        st.lists(frame, min_size=1, max_size=most).map(tuple),
        lost_before=st.sampled_from([0, 0, 0, 0, 1, 2]),
        is_late=st.sampled_from([False] * 9 + [True]),
        number_bytes=st.integers(2, 4),
        spin=st.booleans(),
    )


OWN = {True: [0, 2], False: [1, 3]}
"""Streams that a client, or a server, opened."""


def steps(is_client: bool) -> st.SearchStrategy[list[Callable[[Twins], None]]]:
    writable = st.sampled_from([0, 1, OWN[is_client][1]])
    written = st.builds(
        lambda stream_id, count, is_last: Acted(lambda each: each.send_stream_data(stream_id, bytes(count), is_last)),
        writable,
        st.sampled_from([0, 10, 80, 80, 300, 3000, 30_000]),
        st.sampled_from([False] * 4 + [True]),
    )
    queued = st.builds(lambda count: Acted(lambda each: each.offer_datagram(bytes(count))), st.integers(0, 1300))
    rare_act = st.one_of(
        st.builds(lambda stream_id: Acted(lambda each: each.reset_stream(stream_id, 5)), writable),
        st.builds(lambda stream_id: Acted(lambda each: each.stop_stream(stream_id, 5)), writable),
        st.builds(lambda count: Acted(set_unread(count)), st.integers(0, 4000)),
        st.sampled_from(
            [
                Acted(lambda each: each.send_ping(3)),
                Acted(lambda each: each.probe()),
                Acted(lambda each: each.send_new_token(b"token")) if not is_client else Acted(lambda each: None),
                Acted(lambda each: each.request_key_update()),
                Acted(lambda each: each.change_connection_id()),
                Acted(lambda each: each.keep_minimum_window(100.0)),
                Acted(lambda each: each.close(0x100)),
                Received((raw(b"\x01"),), is_elsewhere=True),
                late,
                twice,
            ]
        ),
        st.builds(Damaged, st.integers(0, 400)),
        received(st.one_of(COMMON, RARE), 3),
    )
    common = received(COMMON, 4)
    time = st.builds(Passed, st.sampled_from([0.0, 0.0005, 0.005, 0.02, 0.02, 0.1, 0.5]))
    return st.lists(
        st.one_of(common, common, common, written, written, queued, time, time, st.just(sent), rare_act),
        min_size=5,
        max_size=60,
    )


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("is_client", [False, True], ids=["server", "client"])
def test_both_ways_give_equal_events_packets_and_state(is_client: bool) -> None:
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(steps(is_client))
    def run(steps: list[Callable[[Twins], None]]) -> None:
        state = twins(is_client)
        for step in steps:
            step(state)

    run()
