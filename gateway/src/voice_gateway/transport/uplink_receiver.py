"""The uplink of one WebTransport session as it was agreed: frames of the stream and of datagrams, reports back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from voice_gateway.deadline_timer import Alarm, Clock
from voice_gateway.transport.reassembler import UplinkCounters, UplinkReassembler
from voicelink.wire import AudioFrame, ClientMessage, Malformed, Ready, Resume, ServerMessage, Start, UplinkMode

_MODES: Final = frozenset(UplinkMode)


class UplinkReceiver:
    """Shows each frame's way to the session. `close` it when the session is over.

    The client asks for a mode in its first message, and `ready` agrees to it, where datagrams pass at all.
    """

    def __init__(
        self,
        clock: Clock,
        has_datagrams: Callable[[], bool],
        send_report: Callable[[bytes], None],
        counters: UplinkCounters,
    ) -> None:
        self.reassembler: UplinkReassembler | None = None
        """`None` where all frames come on the stream, in order."""
        self.datagrams = 0
        """How many were taken."""
        self._clock = clock
        self._has_datagrams = has_datagrams
        self._send_report = send_report
        self._counters = counters
        self._wanted = UplinkMode.RELIABLE
        self._passed = 0
        self._alarm = Alarm(clock, self._alarmed)

    def asked(self, message: ClientMessage) -> None:
        """Note what the client would like."""
        if isinstance(message, Start | Resume) and message.uplink in _MODES and self.reassembler is None:
            self._wanted = UplinkMode(message.uplink)

    def answered(self, message: ServerMessage) -> ServerMessage:
        """Return what is to be sent: `ready` names the mode that is in force from then on."""
        if not isinstance(message, Ready) or self._wanted is UplinkMode.RELIABLE or not self._has_datagrams():
            return message
        # frames of the stream may have come, and gone on, ahead of the answer
        next_sequence = max(message.next_sequence, self._passed)
        self.reassembler = UplinkReassembler(next_sequence, self._wanted, self._counters)
        return replace(message, uplink=self._wanted)

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
        """Report nothing any more."""
        self.reassembler = None
        self._alarm.cancel()

    def _arm(self) -> None:
        due = None if self.reassembler is None else self.reassembler.report_at
        if due is None:
            return
        now = self._clock.time()
        if due <= now:
            self._report(now)
        else:
            self._alarm.set(due)

    def _alarmed(self, now: float) -> None:
        if self.reassembler is not None and self.reassembler.report_at is not None:
            self._report(now)

    def _report(self, now: float) -> None:
        if self.reassembler is not None:
            self._send_report(self.reassembler.report(now))
