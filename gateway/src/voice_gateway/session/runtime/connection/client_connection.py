"""One connection of a caller: first its opening handles what arrives, then its session."""

from __future__ import annotations

from voice_gateway.session.runtime.connection.connection_rate_limiter import ConnectionRateLimiter, unlimited_connection
from voice_gateway.transport.base import SessionRequest, Transport, TransportHandler
from voicelink.wire import AudioFrame, ClientMessage, CloseCode, Error, Malformed


class ClientConnection(TransportHandler):
    """The `TransportHandler` of a transport. What comes from a transport that no session has is dropped."""

    def __init__(
        self, request: SessionRequest, transport: Transport, rate_limiter: ConnectionRateLimiter | None = None
    ) -> None:
        self.request = request
        self.rate_limiter = rate_limiter or unlimited_connection()
        self.transport = transport
        self.peer = request.peer
        self.is_open = True
        """Whether the transport still carries anything."""
        self._handler: TransportHandler | None = None

    def set_handler(self, handler: TransportHandler | None) -> None:
        """Give what the transport brings to `handler` from now on."""
        self._handler = handler

    def refuse(self, code: CloseCode, reason: str) -> None:
        """Tell the caller why it has no session over this transport, and close it."""
        self._handler = None
        self.transport.send(Error(code=code, message=reason))
        self.close(code, reason)

    def close(self, code: CloseCode, reason: str) -> None:
        self.is_open = False
        self.transport.close(code, reason)

    @property
    def is_behind(self) -> bool:
        return self._handler is not None and self._handler.is_behind

    def bytes_received(self, count: int) -> None:
        limiter = self.rate_limiter
        exceeded = limiter.uplink.count_bytes(count, limiter.clock())
        if exceeded is not None:
            self.malformed_received(limiter.fault(exceeded))

    def message_received(self, message: ClientMessage) -> None:
        limiter = self.rate_limiter
        exceeded = limiter.uplink.message(limiter.clock())
        if exceeded is not None:
            self.malformed_received(limiter.fault(exceeded))
        elif self._handler is not None:
            self._handler.message_received(message)

    def audio_received(self, frame: AudioFrame) -> None:
        limiter = self.rate_limiter
        exceeded = limiter.uplink.message(limiter.clock())
        if exceeded is not None:
            self.malformed_received(limiter.fault(exceeded))
        elif self._handler is not None:
            self._handler.audio_received(frame)

    def malformed_received(self, fault: Malformed) -> None:
        if self._handler is not None:
            self._handler.malformed_received(fault)
        elif self.is_open:
            self.refuse(fault.code, fault.reason)

    def path_changed(self, peer: str) -> None:
        if self._handler is not None:
            self._handler.path_changed(peer)
        self.peer = peer

    def lost(self, reason: str) -> None:
        self.is_open = False
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.lost(reason)

    def left(self, reason: str) -> None:
        self.is_open = False
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.left(reason)
