"""Sends uplink frames in datagrams: at once, repeated as the loss calls for, again where they were lost. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from voice_client.uplink.redundancy import Redundancy
from voice_client.uplink.round_trip import RoundTrip
from voicelink.net.token_bucket import TokenBucket
from voicelink.wire import (
    MAX_DATAGRAM_FRAMES,
    AudioFrame,
    Codec,
    Malformed,
    UplinkDatagram,
    UplinkReport,
    encode_uplink_datagram,
)

REPAIR_BITS_PER_S: Final = 128_000
"""What repeats and repairs may use together, on the wire."""
REPAIR_BURST_BYTES: Final = 4_000
LONGEST_REPAIR_S: Final = 0.5
"""Repairs that would wait longer for tokens go on the stream."""
LAST_RESORT_LOSSES: Final = 4
TAIL_S: Final = 0.030
PROBE_INTERVAL_S: Final = 0.040
PROBE_FRAMES: Final = 8
PROBE_BACK_S: Final = 0.080
PROBE_EAGERLY_S: Final = 4.0
PROBE_LONGEST_S: Final = 1.0

_PACKET_BYTES: Final = 60  # IP, UDP, QUIC and DATAGRAM headers
_HEADER_BYTES: Final = 20
_FRAME_BYTES: Final = 14  # the header of a frame, at its longest in any call of less than six hours

Outgoing = bytes | AudioFrame
"""A datagram, or a frame for the stream."""


@dataclass(slots=True)
class UplinkCounters:
    """Of one call, over all its connections."""

    given_up: int = 0
    """Frames given up."""
    repaired: int = 0
    """How many times a frame was sent again because it was lost."""


@dataclass(slots=True)
class _Unreported:
    """A frame in datagrams; `number` is the last one that held it, `since` the one that held it first, or again."""

    frame: AudioFrame
    made_at: float
    number: int
    since: int
    losses: int = 0
    is_waiting: bool = False


class UplinkSender:
    """Of one connection, from the frame `next_sequence` on. Send what each call returns; call `tick` at `deadline`.

    `max_bytes` is the largest datagram. With `limit_s` frames that were not reported for so long are given up, but for
    those on the stream.
    """

    def __init__(
        self,
        next_sequence: int,
        max_bytes: Callable[[], int],
        counters: UplinkCounters,
        now: float,
        *,
        limit_s: float | None = None,
    ) -> None:
        self.redundancy = Redundancy()
        self.round_trip = RoundTrip()
        self.counters = counters
        self._max_bytes = max_bytes
        self._limit_s = limit_s
        self._tokens = TokenBucket(REPAIR_BITS_PER_S / 8, REPAIR_BURST_BYTES, now)
        self._frames: dict[int, _Unreported] = {}
        self._on_stream: set[int] = set()
        self._first = self._next = self._reported_next = next_sequence
        self._latest_timestamp = 0
        self._number = 0
        self._reported_at = now
        self._sent_at = now
        self._probe_at: float | None = None
        self._probe_interval_s = PROBE_INTERVAL_S
        self._silent_since = now
        self._is_announcement_due = False

    @property
    def deadline(self) -> float | None:
        """When `tick` is due."""
        instants = [self._silence_ends_at(), self._tail_at(), self._repairs_at(), self._too_old_at()]
        return min((at for at in instants if at is not None), default=None)

    def on_stream(self, frames: Iterable[AudioFrame]) -> None:
        """These frames, the next ones, were sent on the stream."""
        for frame in frames:
            self._on_stream.add(frame.sequence)
            self._next = frame.sequence + 1

    def append(self, frame: AudioFrame, now: float, *, has_room: bool = True) -> list[Outgoing]:
        """Send the next frame; on the stream if the connection has no room for it in a datagram."""
        is_rising = frame.timestamp >= self._latest_timestamp
        self._latest_timestamp = max(self._latest_timestamp, frame.timestamp)
        if not (has_room and is_rising and self._is_fit(frame)):
            self.on_stream((frame,))
            return [frame]
        self._next = frame.sequence + 1
        sent = self._frames[frame.sequence] = _Unreported(frame, now, self._number, self._number)
        return [self._datagram([*self._repeats(_size(frame), frame.codec, now), sent], now)]

    def path_changed(self, now: float) -> None:
        """What is sent from now on takes another path, as after a migration (RFC 9000 section 9.4)."""
        self.round_trip.path_changed(now)
        self.redundancy.path_changed(now)

    def report_received(self, report: UplinkReport, now: float) -> list[Outgoing] | Malformed:
        """Take the worker's report; what it shows to be lost is sent again."""
        if report.newest >= self._number or report.next_sequence > self._next:
            return Malformed(f"a report of datagram {report.newest} and frame {report.next_sequence}, never sent")
        self._acknowledge(report)
        rtt_s = self.round_trip.reported(report.newest, report.held_ms, now)
        if rtt_s is not None:
            self.redundancy.observe(report.newest + 1, report.received, rtt_s, now)
        self._reported_at, self._probe_at = now, None
        outgoing: list[Outgoing] = []
        for sent in list(self._frames.values()):
            if sent.number <= report.newest and not sent.is_waiting:
                sent.losses += 1
                sent.is_waiting = True
                if sent.losses >= LAST_RESORT_LOSSES and self._limit_s is None:
                    outgoing.append(self._to_stream(sent))
        return [*outgoing, *self.tick(now)]

    def tick(self, now: float) -> list[Outgoing]:
        """Do what is due: give up, repair, repeat, probe."""
        self._give_up(now)
        outgoing = self._repair(now)
        silence_ends_at = self._silence_ends_at()
        if silence_ends_at is not None and now >= silence_ends_at:
            outgoing.append(self._probe(now))
        tail_at = self._tail_at()
        if tail_at is not None and now >= tail_at:
            codec = next(reversed(self._frames.values())).frame.codec if self._frames else None
            outgoing.append(self._datagram(self._repeats(_PACKET_BYTES, codec, now), now))
        return outgoing

    def _acknowledge(self, report: UplinkReport) -> None:
        self._reported_next = max(self._reported_next, report.next_sequence)
        for sequence in [each for each in self._frames if each < report.next_sequence]:
            del self._frames[sequence]
        self._on_stream = {each for each in self._on_stream if each >= report.next_sequence}
        position = report.next_sequence
        for missing, present in report.runs:
            position += missing
            for sequence in range(position, min(position + present, self._next)):
                self._frames.pop(sequence, None)
                self._on_stream.discard(sequence)
            position += present
        self._move_first()

    def _move_first(self) -> None:
        while self._first < self._next and self._first not in self._frames and self._first not in self._on_stream:
            self._first += 1

    def _is_fit(self, frame: AudioFrame) -> bool:
        return _size(frame) + _HEADER_BYTES <= self._max_bytes()

    def _to_stream(self, sent: _Unreported) -> AudioFrame:
        del self._frames[sent.frame.sequence]
        self._on_stream.add(sent.frame.sequence)
        return sent.frame

    # Frames too old

    def _too_old_at(self) -> float | None:
        oldest = next(iter(self._frames.values()), None)
        return None if oldest is None or self._limit_s is None else oldest.made_at + self._limit_s

    def _give_up(self, now: float) -> None:
        while (too_old_at := self._too_old_at()) is not None and now >= too_old_at:
            del self._frames[next(iter(self._frames))]
            self.counters.given_up += 1
            self._is_announcement_due = True
        self._move_first()

    # Repairs

    def _waiting(self) -> list[_Unreported]:
        return [sent for sent in self._frames.values() if sent.is_waiting]

    def _repairs_at(self) -> float | None:
        waiting = self._waiting()
        if not waiting:
            return None
        return self._tokens.ready_at(_size(waiting[0].frame) + _PACKET_BYTES)

    def _repair(self, now: float) -> list[Outgoing]:
        """Send what waits, oldest first, as far as the token bucket allows."""
        outgoing: list[Outgoing] = []
        waiting = self._waiting()
        allowed_bytes = LONGEST_REPAIR_S * REPAIR_BITS_PER_S / 8 if self._limit_s is None else None
        while waiting:
            batch = self._fitting(waiting, self._tokens.level(now) - _PACKET_BYTES)
            if not batch:
                break
            for sent in batch:
                sent.is_waiting, sent.since = False, self._number
            self.counters.repaired += len(batch)
            self._tokens.drain(sum(_size(sent.frame) for sent in batch) + _PACKET_BYTES, now)
            outgoing.append(self._datagram(batch, now))
            waiting = waiting[len(batch) :]
        if waiting and not self._is_fit(waiting[0].frame):  # datagrams have become smaller
            outgoing.append(self._to_stream(waiting.pop(0)))
        if allowed_bytes is not None:
            for sent in waiting:
                allowed_bytes -= _size(sent.frame)
                if allowed_bytes < 0:
                    outgoing.append(self._to_stream(sent))
        return outgoing

    def _fitting(self, frames: list[_Unreported], byte_count: float) -> list[_Unreported]:
        """The first ones, of one codec, that one datagram can hold and the token bucket covers."""
        room = min(self._max_bytes() - _HEADER_BYTES, byte_count)
        batch: list[_Unreported] = []
        for sent in frames[:MAX_DATAGRAM_FRAMES]:
            room -= _size(sent.frame)
            if room < 0 or sent.frame.codec is not frames[0].frame.codec:
                break
            batch.append(sent)
        return batch

    # Repeats

    def _is_repeated(self, sent: _Unreported) -> bool:
        return not sent.is_waiting and self._number - sent.since in self.redundancy.distances

    def _repeats(self, taken: int, codec: Codec | None, now: float) -> list[_Unreported]:
        """Those due in the next datagram beside what takes so many bytes, as far as the token bucket allows."""
        if self._is_silent:
            return []
        unreported = reversed(self._frames.values())
        wanted = [sent for sent in unreported if self._is_repeated(sent) and sent.frame.codec is codec]
        room = min(self._max_bytes() - _HEADER_BYTES - taken, self._tokens.level(now))
        batch: list[_Unreported] = []
        for sent in wanted[: MAX_DATAGRAM_FRAMES - 1]:
            room -= _size(sent.frame)
            if room < 0:
                break
            batch.append(sent)
        self._tokens.drain(sum(_size(sent.frame) for sent in batch), now)
        return batch

    def _tail_at(self) -> float | None:
        """When repeats that no new frame took along go by themselves, or frames given up are announced."""
        if self._is_silent:
            return None
        is_repeat_due = any(self._is_repeated(sent) for sent in reversed(self._frames.values()))
        return self._sent_at + TAIL_S if is_repeat_due or self._is_announcement_due else None

    # Silence

    @property
    def _is_silent(self) -> bool:
        return self._probe_at is not None

    def _silence_ends_at(self) -> float | None:
        """When the oldest frames are sent again although nothing is known of them."""
        if self._probe_at is not None:
            return self._probe_at
        is_reported = not self._frames and self._reported_next >= self._first
        first_unreported_at = self.round_trip.oldest_unreported_at
        if is_reported or first_unreported_at is None:
            return None
        return max(first_unreported_at, self._reported_at) + self.round_trip.report_timeout_s

    def _probe(self, now: float) -> bytes:
        if self._probe_at is None:
            self._silent_since, self._probe_interval_s = now, PROBE_INTERVAL_S
        elif now - self._silent_since > PROBE_EAGERLY_S or not self.redundancy.limit.has_headroom:
            self._probe_interval_s = min(2 * self._probe_interval_s, PROBE_LONGEST_S)
        self._probe_at = now + self._probe_interval_s
        unreported = list(self._frames.values())
        # what was made before has most likely arrived, and only the report of it was lost
        since = [sent for sent in unreported if sent.made_at >= self._reported_at - PROBE_BACK_S] or unreported
        oldest = self._fitting(since[:PROBE_FRAMES], self._max_bytes())
        self._tokens.drain(sum(_size(sent.frame) for sent in oldest) + _PACKET_BYTES, now)
        return self._datagram(oldest, now)

    def _datagram(self, batch: list[_Unreported], now: float) -> bytes:
        number = self._number
        self._number += 1
        self._sent_at = now
        self._is_announcement_due = False
        self.round_trip.sent(number, now)
        for sent in batch:
            sent.number = number
        frames = tuple(sent.frame for sent in sorted(batch, key=lambda sent: sent.frame.sequence))
        return encode_uplink_datagram(UplinkDatagram(number, self._first, frames))


def _size(frame: AudioFrame) -> int:
    return len(frame.payload) + _FRAME_BYTES
