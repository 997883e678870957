"""Puts uplink frames that come in datagrams and on the stream in order, and reports what has come. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from voicelink.audio.frames import FRAME_TICKS
from voicelink.wire import (
    MAX_REPORT_RUNS,
    AudioFrame,
    CloseCode,
    Codec,
    Malformed,
    UplinkDatagram,
    UplinkMode,
    UplinkReport,
    decode_uplink_datagram,
    encode_uplink_report,
)

MAX_AHEAD: Final = 3_000
"""How many frames beyond the next one are kept, or may be given up at once."""
MAX_AHEAD_BYTES: Final = 2 * 1024 * 1024
"""How many bytes of payload they may hold: 65 s of 16-bit samples at 16 kHz, 21 s at 48 kHz."""
REPORT_INTERVAL_S: Final = 0.040
_NUMBERS_REMEMBERED: Final = 1_024
_SILENCE: Final = {Codec.PCMU: b"\xff", Codec.PCMA: b"\xd5"}
_OPUS_ONE_FRAME: Final = 0xFC
_OPUS_20_MS: Final = b"\x08"


@dataclass(slots=True)
class UplinkCounters:
    """What the uplinks of one worker count, since it began."""

    frames_given_up: int = 0


class UplinkReassembler:
    """Feed it what arrives, with the time; it returns the frames that are next, in order, each once.

    Send `report` when `report_at` has come. In `UplinkMode.DEADLINE` a frame that the client gave up is replaced by
    one of the same length, so that the listener's media time goes on.
    """

    def __init__(self, next_sequence: int, mode: UplinkMode, counters: UplinkCounters | None = None) -> None:
        self.next_sequence = next_sequence
        self.report_at: float | None = None
        """When a report is due; `None` while there is nothing new to say."""
        self.counters = counters or UplinkCounters()
        self._is_giving_up = mode is UplinkMode.DEADLINE
        self._given_up_before = next_sequence
        self._held: dict[int, AudioFrame] = {}
        self._held_bytes = 0
        self._latest: AudioFrame | None = None
        self._newest = -1
        self._newest_at = 0.0
        self._received = 0
        self._seen = 0  # bit n: the datagram n before the newest has come
        self._reported_at = float("-inf")

    def frame_received(self, frame: AudioFrame) -> list[AudioFrame] | Malformed:
        """Take a frame of the stream; one that is too far ahead ends the session, as a stream delivers it only once."""
        if not self._keep(frame):
            reason = f"more than {MAX_AHEAD} frames or {MAX_AHEAD_BYTES} bytes wait for uplink frame"
            return Malformed(f"{reason} {self.next_sequence}", CloseCode.OVERLOADED)
        return self._in_order()

    def datagram_received(self, body: bytes, now: float) -> list[AudioFrame] | Malformed:
        """Take a datagram; one of another type is skipped. Frames too far ahead are ignored: they are sent again."""
        datagram = decode_uplink_datagram(body)
        if datagram is None:
            return []
        if isinstance(datagram, Malformed):
            return datagram
        if self._is_giving_up and datagram.first - self.next_sequence > MAX_AHEAD:
            ahead = datagram.first - self.next_sequence
            return Malformed(f"{ahead} frames given up at once, at most {MAX_AHEAD} may be", CloseCode.WRONG_ORDER)
        self._count(datagram, now)
        for frame in datagram.frames:
            self._keep(frame)
        if self._is_giving_up:
            self._given_up_before = max(self._given_up_before, datagram.first)
        return self._in_order()

    def report(self, now: float) -> bytes:
        """Return the report that is due, for a datagram."""
        self.report_at = None
        self._reported_at = now
        held_ms = max(0, round((now - self._newest_at) * 1000))
        report = UplinkReport(self._newest, self._received, held_ms, self.next_sequence, self._runs())
        return encode_uplink_report(report)

    def _count(self, datagram: UplinkDatagram, now: float) -> None:
        ahead = datagram.number - self._newest
        self._request_report(now if ahead != 1 else max(now, self._reported_at + REPORT_INTERVAL_S))
        if ahead > 0:
            self._newest, self._newest_at = datagram.number, now
            self._seen = ((self._seen << ahead) | 1) & _REMEMBERED if ahead < _NUMBERS_REMEMBERED else 1
            self._received += 1
        elif -ahead < _NUMBERS_REMEMBERED and not self._seen >> -ahead & 1:
            self._seen |= 1 << -ahead
            self._received += 1

    def _request_report(self, at: float) -> None:
        if self.report_at is None or at < self.report_at:
            self.report_at = at

    def _keep(self, frame: AudioFrame) -> bool:
        """Keep a frame unless it is known; false if it is too far ahead, or there is no room for what it holds."""
        ahead = frame.sequence - self.next_sequence
        if ahead < 0 or frame.sequence in self._held:
            return True
        size = len(frame.payload)
        if ahead and (ahead >= MAX_AHEAD or self._held_bytes + size > MAX_AHEAD_BYTES):
            return False
        self._held[frame.sequence] = frame
        self._held_bytes += size
        return True

    def _in_order(self) -> list[AudioFrame]:
        frames: list[AudioFrame] = []
        ahead: list[int] | None = None
        while True:
            frame = self._held.pop(self.next_sequence, None)
            if frame is not None:
                self._held_bytes -= len(frame.payload)
            elif self.next_sequence < self._given_up_before:
                if ahead is None:
                    ahead = sorted(self._held, reverse=True)
                while ahead and ahead[-1] < self.next_sequence:
                    ahead.pop()
                frame = replacement_frame(self.next_sequence, self._latest, self._held[ahead[-1]] if ahead else None)
                self.counters.frames_given_up += 1
            else:
                return frames
            frames.append(frame)
            self._latest = frame
            self.next_sequence += 1

    def _runs(self) -> tuple[tuple[int, int], ...]:
        runs: list[tuple[int, int]] = []
        end = self.next_sequence
        for sequence in sorted(self._held):
            if sequence == end:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            elif len(runs) == MAX_REPORT_RUNS:
                break
            else:
                runs.append((sequence - end, 1))
            end = sequence + 1
        return tuple(runs)


def replacement_frame(sequence: int, before: AudioFrame | None, after: AudioFrame | None) -> AudioFrame:
    """Return the frame for one that will never come, as long as its neighbours: silence, or Opus that is concealed.

    `before` is the one delivered last, `after` the next that is known; without any it takes 20 ms.
    """
    like = before or after
    if like is None:
        return AudioFrame(sequence, sequence * FRAME_TICKS, Codec.OPUS, _OPUS_20_MS)
    return AudioFrame(sequence, _timestamp(sequence, before, after), like.codec, _payload(like))


def _timestamp(sequence: int, before: AudioFrame | None, after: AudioFrame | None) -> int:
    """The usual 20 ms on, unless the frames on both sides are closer together."""
    if before is None:
        return max(0, after.timestamp - (after.sequence - sequence) * FRAME_TICKS) if after else 0
    step = FRAME_TICKS
    if after is not None:
        step = min(step, (after.timestamp - before.timestamp) // (after.sequence - before.sequence))
    return before.timestamp + max(step, 0) * (sequence - before.sequence)


def _payload(like: AudioFrame) -> bytes:
    if like.codec is Codec.OPUS:
        # a packet whose one frame is empty was lost, for the decoder (RFC 6716 section 3.1, RFC 7587 section 3.1.3)
        return bytes((like.payload[0] & _OPUS_ONE_FRAME,)) if like.payload else _OPUS_20_MS
    return _SILENCE.get(like.codec, b"\0") * len(like.payload)


_REMEMBERED: Final = (1 << _NUMBERS_REMEMBERED) - 1
