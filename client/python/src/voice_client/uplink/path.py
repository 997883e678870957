"""How a call's frames leave over one connection: on the uplink stream, or in datagrams where the server agreed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from voice_client.uplink.sender import Outgoing, UplinkCounters, UplinkSender
from voicelink.wire import (
    AudioFrame,
    Malformed,
    Ready,
    StreamType,
    UplinkMode,
    decode_uplink_report,
    encode_audio_frame,
    encode_varint,
    length_prefixed,
)


class UplinkConnection(Protocol):
    """What the uplink needs of a connection."""

    @property
    def max_datagram_bytes(self) -> int: ...

    @property
    def has_datagram_room(self) -> bool: ...

    def open_stream(self, *, is_unidirectional: bool) -> int: ...

    def send(self, stream_id: int, data: bytes) -> None: ...

    def send_datagram(self, data: bytes) -> None: ...

    def keep_minimum_window(self) -> None: ...


class UplinkPath:
    """Opens the uplink stream; `begin` once the server is ready, `close` when the connection is left."""

    def __init__(self, connection: UplinkConnection) -> None:
        self.sender: UplinkSender | None = None
        """`None` where all frames go on the stream."""
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._stream_id = connection.open_stream(is_unidirectional=True)
        connection.send(self._stream_id, encode_varint(StreamType.UPLINK_AUDIO))

    def begin(self, ready: Ready, again: Sequence[AudioFrame], limit_s: float, counters: UplinkCounters) -> None:
        """Send from now on as the server agreed, first the frames that it wants again."""
        for frame in again:
            self._send_on_stream(frame)
        if ready.uplink in (UplinkMode.HYBRID, UplinkMode.DEADLINE):
            self.sender = UplinkSender(
                ready.next_sequence,
                lambda: self._connection.max_datagram_bytes,
                counters,
                self._loop.time(),
                limit_s=limit_s if ready.uplink == UplinkMode.DEADLINE else None,
            )
            self.sender.on_stream(again)
            self._connection.keep_minimum_window()

    def send(self, frame: AudioFrame) -> None:
        """Send the next frame."""
        if self.sender is None:
            self._send_on_stream(frame)
        else:
            has_room = self._connection.has_datagram_room
            self._send_all(self.sender.append(frame, self._loop.time(), has_room=has_room))

    def path_changed(self) -> None:
        """What is sent from now on takes another path."""
        if self.sender is not None:
            self.sender.path_changed(self._loop.time())

    def datagram_received(self, data: bytes) -> Malformed | None:
        """Take what the server reports; returns its breach of the protocol."""
        if self.sender is None:
            return None
        report = decode_uplink_report(data)
        if report is None or isinstance(report, Malformed):
            return report
        outgoing = self.sender.report_received(report, self._loop.time())
        if isinstance(outgoing, Malformed):
            return outgoing
        self._send_all(outgoing)
        return None

    def close(self) -> None:
        """Send nothing any more."""
        self.sender = None
        if self._timer is not None:
            self._timer.cancel()

    def _send_all(self, outgoing: list[Outgoing]) -> None:
        for each in outgoing:
            if isinstance(each, AudioFrame):
                self._send_on_stream(each)
            else:
                self._connection.send_datagram(each)
        self._arm()

    def _send_on_stream(self, frame: AudioFrame) -> None:
        self._connection.send(self._stream_id, length_prefixed(encode_audio_frame(frame)))

    def _arm(self) -> None:
        deadline = None if self.sender is None else self.sender.deadline
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._timer_fired, deadline)

    def _timer_fired(self, deadline: float) -> None:
        self._timer = None
        if self.sender is not None:
            # the loop may call a little early, by the resolution of its clock
            self._send_all(self.sender.tick(max(deadline, self._loop.time())))
