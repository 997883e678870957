"""One connection of a call: its streams, and what travels on them as messages and frames."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from voice_client.errors import ClientError
from voice_client.transport.downlink_stream import DownlinkStream
from voice_client.transport.webtransport.connection import WebTransportConnection
from voice_client.uplink.path import UplinkPath
from voice_client.uplink.sender import UplinkCounters
from voicelink.audio.codec import FrameDecoder
from voicelink.wire import (
    MAX_CONTROL_BYTES,
    AudioFrame,
    ClientMessage,
    CloseCode,
    LengthPrefixedReader,
    Malformed,
    Ready,
    ServerMessage,
    decode_server_message,
    encode_message,
    length_prefixed,
)

PLAYBACK_RATE_HZ = 24_000


class LinkHandler(Protocol):
    """What a link calls; the call ignores links it has left."""

    def link_opened(self, link: Link) -> ClientMessage | None:
        """The server is authenticated: return the first message, or `None` to leave the link."""

    def message_received(self, link: Link, message: ServerMessage) -> None: ...

    def speech_received(self, link: Link, utterance_id: int, pcm: bytes) -> None: ...

    def speech_ended(self, link: Link, utterance_id: int) -> None:
        """No more of an utterance comes over this link."""

    def link_draining(self, link: Link) -> None:
        """The server, or a proxy before it, asks to end this session soon."""

    def fault_found(self, link: Link, fault: Malformed) -> None:
        """The server broke the voice protocol."""

    def link_lost(self, link: Link, error: ClientError | None) -> None:
        """Nothing more can be sent or will come; `None` where the server closed the session normally."""


@dataclass(slots=True)
class _Incoming:
    stream: DownlinkStream = field(default_factory=DownlinkStream)
    decoder: FrameDecoder = field(default_factory=lambda: FrameDecoder(PLAYBACK_RATE_HZ))


class Link:
    """The `SessionHandler` of one connection."""

    def __init__(self, call: LinkHandler, opened: Callable[[], None] = lambda: None) -> None:
        self._call = call
        self._opened = opened
        self._control_id = -1
        self._control = LengthPrefixedReader(MAX_CONTROL_BYTES)
        self._incoming: dict[int, _Incoming] = {}
        self.connection: WebTransportConnection | None = None
        self.uplink: UplinkPath | None = None
        self.is_lost = False
        self.settled = asyncio.Event()
        """Set when the link carries the call, and when it is lost."""

    def send(self, message: ClientMessage) -> None:
        """Send a control message, reliably and in order."""
        if self.connection is not None:
            self.connection.send(self._control_id, length_prefixed(encode_message(message)))

    def begin_uplink(self, ready: Ready, again: Sequence[AudioFrame], limit_s: float, counters: UplinkCounters) -> None:
        """Send frames as the server agreed, these first; `limit_s` is for the deadline mode."""
        if self.uplink is not None:
            self.uplink.begin(ready, again, limit_s, counters)

    def send_frame(self, frame: AudioFrame) -> None:
        """Send the next uplink frame."""
        if self.uplink is not None:
            self.uplink.send(frame)

    def close(self, code: CloseCode, reason: str) -> None:
        """End the session at the server, and the connection."""
        self._lose()
        if self.connection is not None:
            self.connection.close(code, reason)

    def leave(self) -> None:
        """Drop the connection and leave the session be, to be taken up over another link."""
        self._lose()
        if self.connection is not None:
            self.connection.abandon()

    # SessionHandler

    def session_requested(self, connection: WebTransportConnection) -> None:
        self.connection = connection
        first = self._call.link_opened(self)
        if first is None:
            return
        self._opened()
        self._control_id = connection.open_stream(is_unidirectional=False)
        self.send(first)
        self.uplink = UplinkPath(connection)

    def stream_received(self, stream_id: int, data: bytes, is_ended: bool) -> None:
        if self.is_lost:
            return
        if stream_id == self._control_id:
            self._control_received(data)
        else:
            self._downlink_received(stream_id, data, is_ended)

    def stream_reset(self, stream_id: int) -> None:
        incoming = self._incoming.pop(stream_id, None)
        if incoming is not None and incoming.stream.utterance_id is not None and not self.is_lost:
            self._call.speech_ended(self, incoming.stream.utterance_id)

    def datagram_received(self, data: bytes) -> None:
        fault = None if self.is_lost or self.uplink is None else self.uplink.datagram_received(data)
        if fault is not None:
            self._call.fault_found(self, fault)

    def path_changed(self) -> None:
        if self.uplink is not None:
            self.uplink.path_changed()

    def session_draining(self) -> None:
        if not self.is_lost:
            self._call.link_draining(self)

    def session_closed(self, error: ClientError | None) -> None:
        if not self.is_lost:
            self._lose()
            self._call.link_lost(self, error)

    def _lose(self) -> None:
        self.is_lost = True
        self.settled.set()
        if self.uplink is not None:
            self.uplink.close()

    def _control_received(self, data: bytes) -> None:
        bodies = self._control.feed(data)
        if isinstance(bodies, Malformed):
            self._call.fault_found(self, bodies)
            return
        for body in bodies:
            message = decode_server_message(body)
            if self.is_lost:
                return
            if isinstance(message, Malformed):
                self._call.fault_found(self, message)
            elif message is not None:
                self._call.message_received(self, message)

    def _downlink_received(self, stream_id: int, data: bytes, is_ended: bool) -> None:
        incoming = self._incoming.get(stream_id)
        if incoming is None:
            incoming = self._incoming[stream_id] = _Incoming()
        frames = incoming.stream.feed(data)
        if isinstance(frames, Malformed):
            self._call.fault_found(self, frames)
            return
        utterance_id = incoming.stream.utterance_id
        if utterance_id is not None:
            for frame in frames:
                pcm = incoming.decoder.decode(frame)
                if isinstance(pcm, Malformed):
                    self._call.fault_found(self, pcm)
                    return
                self._call.speech_received(self, utterance_id, pcm)
            if is_ended:
                self._call.speech_ended(self, utterance_id)
        if is_ended:
            self._incoming.pop(stream_id, None)
