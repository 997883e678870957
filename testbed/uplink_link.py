"""An uplink without a network: the client's sender, the worker's reassembler, and a link with delays and losses."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from testbed.simnet.links import Direction
from voice_client.uplink.sender import Outgoing, UplinkCounters, UplinkSender
from voice_gateway.transport.uplink.reassembler import UplinkReassembler
from voicelink.audio.frames import FRAME_S
from voicelink.wire import AudioFrame, Codec, Malformed, UplinkMode, UplinkReport, decode_uplink_report

QUIC_BYTES: Final = 32
"""What QUIC adds to a datagram, beside IP and UDP."""
LinkModel = Callable[[float, bool], list[float]]
"""For a datagram sent at that time, upwards or not: after how long each of its copies arrives."""


def spoken(sequence: int, byte_count: int = 60) -> AudioFrame:
    return AudioFrame(sequence, sequence * 960, Codec.OPUS, bytes((0x48, sequence & 0xFF)) * (byte_count // 2))


@dataclass
class UplinkOverLink:
    """`say` frames, `run_until` some time, and look at `delivered`: (time, frame)."""

    link_model: LinkModel
    mode: UplinkMode = UplinkMode.HYBRID
    limit_s: float | None = None
    stream_delay_s: float = 0.150
    bottleneck: Direction | None = None
    """What datagrams upwards pass before the link."""
    now: float = 100.0
    delivered: list[tuple[float, AudioFrame]] = field(default_factory=list)
    made_at: dict[int, float] = field(default_factory=dict)
    datagrams: list[tuple[float, int]] = field(default_factory=list)
    """(time, bytes) of each sent upwards."""
    streamed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counters = UplinkCounters()
        self.sender = UplinkSender(0, lambda: 1_180, self.counters, self.now, limit_s=self.limit_s)
        self.reassembler = UplinkReassembler(0, self.mode)
        self._events: list[tuple[float, int, str, object]] = []
        self._order = count()
        self._stream_free_at = 0.0
        self._rng = random.Random(0)

    def say(self, frames: int, at: float | None = None, byte_count: int = 60) -> None:
        """So many frames more, one each 20 ms."""
        start, first = at if at is not None else self.now, len(self.made_at)
        for index in range(frames):
            self.made_at[first + index] = start + index * FRAME_S
            self._at(start + index * FRAME_S, "say", spoken(first + index, byte_count))

    def run_until(self, end: float) -> None:
        while (at := self._next_at()) is not None and at <= end:
            self.now = max(self.now, at)
            if self._events and self._events[0][0] <= self.now:
                _, _, kind, what = heapq.heappop(self._events)
                self._happen(kind, what)
            elif self.reassembler.report_at is not None and self.reassembler.report_at <= self.now:
                self._send("report", self.reassembler.report(self.now), is_up=False)
            else:
                self._carry(self.sender.tick(self.now))
        self.now = end

    def lateness(self, one_way_s: float) -> list[float]:
        """Of each delivered frame, beyond the way itself."""
        return [at - self.made_at[frame.sequence] - one_way_s for at, frame in self.delivered]

    def _next_at(self) -> float | None:
        due = [self.sender.deadline, self.reassembler.report_at, self._events[0][0] if self._events else None]
        return min((at for at in due if at is not None), default=None)

    def _happen(self, kind: str, what: object) -> None:
        if kind == "say" and isinstance(what, AudioFrame):
            self._carry(self.sender.append(what, self.now))
        elif kind == "audio" and isinstance(what, bytes):
            self._deliver(self.reassembler.datagram_received(what, self.now))
        elif kind == "stream" and isinstance(what, AudioFrame):
            self._deliver(self.reassembler.frame_received(what))
        elif isinstance(what, bytes):
            report = decode_uplink_report(what)
            assert isinstance(report, UplinkReport)
            outgoing = self.sender.report_received(report, self.now)
            assert not isinstance(outgoing, Malformed), outgoing
            self._carry(outgoing)

    def _deliver(self, frames: list[AudioFrame] | Malformed) -> None:
        assert not isinstance(frames, Malformed), frames
        self.delivered += ((self.now, frame) for frame in frames)

    def _carry(self, outgoing: list[Outgoing]) -> None:
        for each in outgoing:
            if isinstance(each, AudioFrame):
                self.streamed.append(each.sequence)
                self._stream_free_at = max(self.now + self.stream_delay_s, self._stream_free_at)
                self._at(self._stream_free_at, "stream", each)
            else:
                self.datagrams.append((self.now, len(each)))
                self._send("audio", each, is_up=True)

    def _send(self, kind: str, datagram: bytes, is_up: bool) -> None:
        for left_at in self._leaves_at(len(datagram)) if is_up else [self.now]:
            for delay_s in self.link_model(self.now, is_up):
                self._at(left_at + delay_s, kind, datagram)

    def _leaves_at(self, byte_count: int) -> list[float]:
        if self.bottleneck is None:
            return [self.now]
        leaves_at = self.bottleneck.carry(self.now, byte_count + QUIC_BYTES, self._rng)
        return [] if isinstance(leaves_at, str) else leaves_at

    def _at(self, when: float, kind: str, what: object) -> None:
        heapq.heappush(self._events, (when, next(self._order), kind, what))
