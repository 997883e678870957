"""The uplink of one WebTransport session: frames of the stream and of datagrams in, reports back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from voice_gateway.transport.uplink.reassembler import UplinkCounters, UplinkReassembler
from voicelink.net.deadline_timer import Clock, DeadlineTimer
from voicelink.wire import AudioFrame, Malformed, UplinkMode


class UplinkReceiver:
    """Puts the frames of the stream and of datagrams in order. `close` it when the session is over.

    All frames come on the stream until `begin`.
    """

    def __init__(
        self,
        clock: Clock,
        send_report: Callable[[bytes], None],
        counters: UplinkCounters,
    ) -> None:
        self.reassembler: UplinkReassembler | None = None
        """`None` where all frames come on the stream, in order."""
        self.datagrams = 0
        """How many were taken."""
        self._clock = clock
        self._send_report = send_report
        self._counters = counters
        self._passed = 0
        self._timer = DeadlineTimer(clock, self._report_due)

    def begin(self, mode: UplinkMode, next_sequence: int) -> None:
        """Take datagrams from now on; `next_sequence` is the first frame that has not arrived."""
        # frames of the stream may have come, and gone on, ahead of the answer
        self.reassembler = UplinkReassembler(max(next_sequence, self._passed), mode, self._counters)

    def frame_received(self, frame: AudioFrame) -> Sequence[AudioFrame] | Malformed:
        """Take a frame of the stream, and return those that are next."""
        if self.reassembler is not None:
            return self.reassembler.frame_received(frame)
        self._passed = frame.sequence + 1
        return (frame,)

    def datagram_received(self, body: bytes) -> Sequence[AudioFrame] | Malformed:
        """Take a datagram, and return the frames that are next."""
        if self.reassembler is None:
            return ()
        self.datagrams += 1
        frames = self.reassembler.datagram_received(body, self._clock.time())
        self._arm()
        return frames

    def close(self) -> None:
        """Stop reports, and release the references to timer and transport."""
        self.reassembler = None
        self._timer.release()
        self._send_report = _ignore

    def _arm(self) -> None:
        due = None if self.reassembler is None else self.reassembler.report_at
        if due is None:
            return
        now = self._clock.time()
        if due <= now:
            self._report(now)
        else:
            self._timer.set(due)

    def _report_due(self, now: float) -> None:
        if self.reassembler is not None and self.reassembler.report_at is not None:
            self._report(now)

    def _report(self, now: float) -> None:
        if self.reassembler is not None:
            self._send_report(self.reassembler.report(now))


def _ignore(report: bytes) -> None: ...
