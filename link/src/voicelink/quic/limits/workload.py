"""What one peer's datagrams may cost this side, beside what they bring (RFC 9000 section 21.9). Sans-IO.

A packet of 1200 bytes holds 300 STREAM or 1200 PING frames, and each is handled in Python. What an ordinary packet
costs is free; the rest is paid from a token bucket, and while that is in debt, datagrams are dropped unread, as a full
receive buffer would. An honest sender takes that for congestion, and no connection takes the event loop for itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from aioquic.quic.packet import QuicFrameType
from aioquic.tls import Epoch

from voicelink.net.token_bucket import TokenBucket

DATAGRAM_UNITS: Final = 50
EVENT_UNITS: Final = 10
FREE_UNITS: Final = 200
EXTRA_UNITS_PER_S: Final = 100_000
EXTRA_BURST_S: Final = 0.1
"""A unit is about a microsecond of one core; each datagram, and each event for the application, costs some."""

SHARED_UNITS_PER_S: Final = 500_000
SHARED_DATAGRAM_UNITS: Final = 100
SHARED_BURST_S: Final = 0.1
"""What all connections together may cost before each is held to a voice's packets: half of a core, 0.1 s at once.

A datagram costs more here: what it takes to decrypt and acknowledge it is free to its own connection."""

_STREAM_UNITS: Final = 6
_STREAM_FRAMES: Final = range(QuicFrameType.STREAM_BASE, QuicFrameType.STREAM_BASE + 8)

FRAME_UNITS: Final[Mapping[int, int]] = {
    QuicFrameType.PADDING: 1,
    QuicFrameType.PING: 1,
    QuicFrameType.ACK: 10,
    QuicFrameType.ACK_ECN: 10,
    QuicFrameType.RESET_STREAM: 10,
    QuicFrameType.STOP_SENDING: 10,
    QuicFrameType.CRYPTO: 6,
    QuicFrameType.NEW_TOKEN: 3,
    **dict.fromkeys(_STREAM_FRAMES, _STREAM_UNITS),
    QuicFrameType.MAX_DATA: 2,
    QuicFrameType.MAX_STREAM_DATA: 3,
    QuicFrameType.MAX_STREAMS_BIDI: 3,
    QuicFrameType.MAX_STREAMS_UNI: 3,
    QuicFrameType.DATA_BLOCKED: 2,
    QuicFrameType.STREAM_DATA_BLOCKED: 3,
    QuicFrameType.STREAMS_BLOCKED_BIDI: 2,
    QuicFrameType.STREAMS_BLOCKED_UNI: 2,
    QuicFrameType.NEW_CONNECTION_ID: 20,
    QuicFrameType.RETIRE_CONNECTION_ID: 50,
    QuicFrameType.PATH_CHALLENGE: 5,
    QuicFrameType.PATH_RESPONSE: 5,
    QuicFrameType.TRANSPORT_CLOSE: 2,
    QuicFrameType.APPLICATION_CLOSE: 2,
    QuicFrameType.HANDSHAKE_DONE: 2,
    0x24: 10,  # RESET_STREAM_AT, of a draft
    0xAF: 10,  # ACK_FREQUENCY and IMMEDIATE_ACK, of another
    0x1F: 1,
    QuicFrameType.DATAGRAM: _STREAM_UNITS,
    QuicFrameType.DATAGRAM_WITH_LENGTH: _STREAM_UNITS,
}
"""The cost of each frame that aioquic handles."""


class SharedLoad:
    """The work that all connections of one endpoint make; beyond half of a core the endpoint is busy.

    It is a token bucket, kept as the time at which it is full again.
    """

    __slots__ = ("_full_at", "_per_s")

    def __init__(self, units_per_s: float = SHARED_UNITS_PER_S) -> None:
        self._per_s = units_per_s
        self._full_at = -math.inf

    def is_busy_after(self, units: float, now: float) -> bool:
        """Count so many units of work; what is owed is forgotten beyond `SHARED_BURST_S` of it."""
        full_at = self._full_at
        full_at = (full_at if full_at > now else now) + units / self._per_s
        empty_until = now + SHARED_BURST_S
        if full_at <= empty_until:
            self._full_at = full_at
            return False
        self._full_at = min(full_at, empty_until + SHARED_BURST_S)
        return True


class Workload:
    """Measures the work of one connection; `units` grows by what is done.

    While `shared` is busy the connection has `busy_packets_per_s`: the work of many connections, each within its own
    limits, must not keep the packets of others waiting. Its token buckets are plain numbers, since each datagram asks
    three of them: the one of extra units is kept as the time at which it is full again, those of packets as the number
    of packets there would be by then at their rates, which is exact.
    """

    def __init__(
        self,
        packets_per_s: float,
        datagram_frames_per_s: float,
        shared: SharedLoad | None = None,
        busy_packets_per_s: float = math.inf,
    ) -> None:
        self.units = 0
        self.datagram_frames_ignored = 0
        """DATAGRAM frames beyond their rate."""
        self._shared = shared
        self._at = -math.inf
        self._extra_full_at = -math.inf
        self._packets_per_s = packets_per_s
        self._packets = -math.inf
        self._busy_packets_per_s = busy_packets_per_s
        self._busy_packets = -math.inf
        self._datagram_frames = TokenBucket(datagram_frames_per_s, datagram_frames_per_s)

    def admits_packet(self, now: float) -> bool:
        """Charge what was done since the last call, and return whether another datagram may be read."""
        units, self.units = self.units, 0
        if units > FREE_UNITS - DATAGRAM_UNITS:
            owed = units + DATAGRAM_UNITS - FREE_UNITS
            self._extra_full_at = max(self._extra_full_at, self._at) + owed / EXTRA_UNITS_PER_S
        self._at = now
        if self._extra_full_at > now + EXTRA_BURST_S:
            return False
        per_s, packets = self._packets_per_s, self._packets
        by_now = now * per_s
        if packets < by_now:
            packets = by_now
        elif packets - by_now > per_s - 1:
            return False
        self._packets = packets + 1
        if self._shared is None:
            return True
        is_busy = self._shared.is_busy_after(units + SHARED_DATAGRAM_UNITS, now)
        per_s, packets = self._busy_packets_per_s, self._busy_packets
        by_now = now * per_s
        if packets < by_now:
            packets = by_now
        elif packets - by_now > per_s - 1:
            return not is_busy
        self._busy_packets = packets + 1
        return True

    def admits_datagram_frame(self, now: float) -> bool:
        """Return whether one more DATAGRAM frame may go to the application, or count it as ignored."""
        if self._datagram_frames.take(1, now):
            return True
        self.datagram_frames_ignored += 1
        return False


FrameHandlers = Mapping[int, tuple[str, AbstractSet[Epoch]]]
"""For each frame type the name of the connection's method, and the encryption levels that may carry the frame."""


class FrameTable:
    """One connection's frame handlers, in place of aioquic's table; counts each look-up: there is one for each frame.

    `handlers` are shared by all connections: aioquic's bound methods take 7 KB of each.
    """

    __slots__ = ("_connection", "_handlers", "_workload")

    def __init__(self, connection: object, handlers: FrameHandlers, workload: Workload) -> None:
        self._connection = connection
        self._handlers = handlers
        self._workload = workload

    def __getitem__(self, frame_type: int) -> tuple[Callable[..., None], AbstractSet[Epoch]]:
        self._workload.units += FRAME_UNITS.get(frame_type, _STREAM_UNITS)
        name, epochs = self._handlers[frame_type]
        return getattr(self._connection, name), epochs
