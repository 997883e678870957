"""How a session reaches its caller over any transport: WebTransport, WebSocket, a telephone call, memory.

A transport turns its protocol into the messages and frames of `voicelink.wire` and calls a `TransportHandler`;
the session answers through the `Transport`. Neither side awaits the other, and no call raises for what a peer did.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from voicelink.wire import AudioFrame, ClientMessage, CloseCode, Malformed, ServerMessage, UplinkMode


class DatagramUplink(Protocol):
    """A transport's means to take the caller's audio in datagrams."""

    def begin(self, mode: UplinkMode, next_sequence: int) -> None:
        """Take datagrams from now on; `next_sequence` is the first frame that has not arrived. `Ready` follows."""


class Transport(Protocol):
    """The session's way to one caller. After `close`, `lost` and `left` every call is a no-op."""

    kind: str
    """`webtransport`, `websocket`, `twilio` or `memory`, for logs and metrics."""

    @property
    def connection_id(self) -> str | None:
        """The QUIC connection ID that names its connection in logs, in hexadecimal; `None` over TCP."""

    @property
    def datagrams(self) -> int:
        """How many datagrams with the caller's audio have arrived."""

    @property
    def datagram_uplink(self) -> DatagramUplink | None:
        """`None` where all audio comes on a stream, in order."""

    def send(self, message: ServerMessage) -> None:
        """Queue a control message, reliably and in order."""

    def send_audio(self, utterance_id: int, frames: Sequence[AudioFrame]) -> None:
        """Queue frames of an utterance, reliably and in order within their utterance."""

    def end_audio(self, utterance_id: int) -> None:
        """No frame of this utterance follows."""

    def reset_audio(self, utterance_id: int) -> None:
        """Abandon what of this utterance has not been delivered (barge-in)."""

    def close(self, code: CloseCode, reason: str) -> None:
        """Deliver what `send` queued, then end the WebTransport session (or its counterpart)."""


class TransportHandler(ABC):
    """What a transport calls, on the event loop, in the order in which the caller's bytes arrived."""

    @property
    def is_behind(self) -> bool:
        """Whether so much audio waits to be decoded that the transport should leave the rest to flow control."""
        return False

    def bytes_received(self, count: int) -> None:  # noqa: B027 - a default that does nothing
        """Count what the caller sent, what the protocol skips included; called before the messages and frames in it."""

    @abstractmethod
    def message_received(self, message: ClientMessage) -> None: ...

    @abstractmethod
    def audio_received(self, frame: AudioFrame) -> None: ...

    @abstractmethod
    def malformed_received(self, fault: Malformed) -> None:
        """The caller broke the protocol; the handler ends the session through `Transport.close`."""

    def path_changed(self, peer: str) -> None:  # noqa: B027 - a default that does nothing
        """The caller's address is now `peer`, and validated; the session goes on."""

    @abstractmethod
    def lost(self, reason: str) -> None:
        """The connection is gone; the caller may come back over another one. Nothing can be sent any more."""

    @abstractmethod
    def left(self, reason: str) -> None:
        """The caller closed the transport, and will not come back. Nothing can be sent any more."""


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What is known of a caller before a session exists.

    `key` names the call beyond this connection where its network does: a telephone call's SID. `is_key_signed` says
    that the network vouches for it.
    """

    path: str
    peer: str
    access_token: str | None = field(repr=False)
    origin: str | None = None
    key: str | None = None
    is_key_signed: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """The request is declined with this HTTP status and sentence.

    `cause` is one of few words, for metrics; `retry_after_s` is when the caller may try again, if that helps.
    """

    status: int
    reason: str
    cause: str = "other"
    retry_after_s: float | None = None


Acceptor = Callable[[SessionRequest, Transport], TransportHandler | Refusal]
"""Decides on a request: the handler of its new session, or why there is none."""
