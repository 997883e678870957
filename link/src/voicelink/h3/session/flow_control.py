"""Flow control of one session (draft-ietf-webtrans-http3-16 section 5): what the peer lets us send, sans-IO.

The other direction needs no bookkeeping: `voicelink.h3.session.dialect` grants the most there is, once, since QUIC's
own limits already bound what a peer can make us hold.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from voicelink.h3.session.capsules import Capsule, DataBlocked, MaxData, MaxStreams, StreamsBlocked


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session may send at its beginning: bytes on all its streams, and streams of each kind."""

    max_data: int
    max_streams_bidi: int
    max_streams_uni: int


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes to write on a QUIC stream now, with its FIN where `end_stream` says so."""

    stream_id: int
    data: bytes
    end_stream: bool = False


@dataclass(slots=True)
class _Held:
    is_unidirectional: bool
    header: bytes | None
    data: bytearray = field(default_factory=bytearray)
    end_stream: bool = False


class Outbox:
    """Passes on what a session sends as far as the peer's limits allow, and holds back the rest.

    Headers of streams cost no data credit. Where several streams wait, those with the least data go first: a control
    message does not wait behind speech.
    """

    def __init__(self, limits: Limits) -> None:
        self._max_data = limits.max_data
        self._sent = 0
        self._max_streams = {True: limits.max_streams_uni, False: limits.max_streams_bidi}
        self._opened: dict[bool, int] = defaultdict(int)
        self._held: dict[int, _Held] = {}
        self._announced: set[Capsule] = set()

    def open(self, stream_id: int, header: bytes, *, is_unidirectional: bool) -> list[Write]:
        """Open a stream by its header, at once or when there is credit for it; return what to write now."""
        self._held[stream_id] = _Held(is_unidirectional, header)
        return self.release()

    def write(self, stream_id: int, data: bytes, end_stream: bool = False) -> list[Write]:
        """Send on a stream; return what to write now."""
        held = self._held.setdefault(stream_id, _Held(is_unidirectional=False, header=None))
        held.data += data
        held.end_stream = end_stream
        return self.release()

    def drop(self, stream_id: int) -> None:
        """Forget what is held back for a stream that was reset."""
        self._held.pop(stream_id, None)

    def raise_limit(self, capsule: MaxData | MaxStreams) -> bool:
        """Take a new limit, to be used by `release`; False if it is lower than before, which is a session error."""
        if isinstance(capsule, MaxData):
            is_lower = capsule.maximum < self._max_data
            self._max_data = max(self._max_data, capsule.maximum)
        else:
            former = self._max_streams[capsule.is_unidirectional]
            is_lower = capsule.maximum < former
            self._max_streams[capsule.is_unidirectional] = max(former, capsule.maximum)
        return not is_lower

    def blocked(self) -> list[Capsule]:
        """Return a capsule for each limit that holds something back, each limit once."""
        blocked: set[Capsule] = {
            StreamsBlocked(self._max_streams[held.is_unidirectional], held.is_unidirectional)
            for held in self._held.values()
            if held.header is not None
        }
        if any(held.header is None for held in self._held.values()):
            blocked.add(DataBlocked(self._max_data))
        fresh = blocked - self._announced
        self._announced = blocked
        return list(fresh)

    def release(self) -> list[Write]:
        """What there is credit for of all that is held back, to be written now."""
        if not self._held:
            return []
        writes = []
        for stream_id, held in self._held.items():
            kind = held.is_unidirectional
            if held.header is not None and self._opened[kind] < self._max_streams[kind]:
                self._opened[kind] += 1
                writes.append(Write(stream_id, held.header))
                held.header = None
        for stream_id, held in sorted(self._held.items(), key=lambda each: len(each[1].data)):
            if held.header is not None:
                continue
            count = min(len(held.data), self._max_data - self._sent)
            is_all = count == len(held.data)
            if count or (is_all and held.end_stream):
                writes.append(Write(stream_id, bytes(held.data[:count]), is_all and held.end_stream))
            self._sent += count
            if is_all:
                del self._held[stream_id]
            else:
                del held.data[:count]
        return writes
