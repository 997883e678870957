"""The WebTransport layer on each end of a connection in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aioquic.h3.connection import H3Connection

from tests.unit.voicelink.quic.harness import Pair, connected
from voicelink.h3.webtransport import (
    SessionRequested,
    WebTransportEvent,
    WebTransportLayer,
)
from voicelink.quic.events import ConnectionTerminated, QuicEvent

E = TypeVar("E")


@dataclass
class Ends:
    """A pair of connections with a layer on each; the server accepts all, or answers with `refusal`."""

    pair: Pair
    client: Any
    server: WebTransportLayer
    refusal: int | None = None
    from_client: list[WebTransportEvent] = field(default_factory=list)
    from_server: list[WebTransportEvent] = field(default_factory=list)

    def exchange(self, rounds: int = 4) -> None:
        for _ in range(rounds):
            self.pair.exchange(1)
            self.handle()

    def exchange_with(self, received: Callable[[QuicEvent], None]) -> None:
        """One round against a client that is not ours."""
        self.pair.exchange(1)
        events = self.pair.client_events[:]
        self.handle()
        for event in events:
            received(event)

    def handle(self) -> None:
        for event in self.pair.server_events:
            for each in self.server.handle_event(event):
                self._serve(each)
        for event in self.pair.client_events if self.client is not None else ():
            self.from_server += self.client.handle_event(event)
        self.ended = [
            event
            for event in self.pair.client_events + self.pair.server_events
            if isinstance(event, ConnectionTerminated)
        ] or self.ended
        self.pair.server_events.clear()
        self.pair.client_events.clear()

    ended: list[ConnectionTerminated] = field(default_factory=list)

    def _serve(self, event: WebTransportEvent) -> None:
        self.from_client.append(event)
        if isinstance(event, SessionRequested):
            if self.refusal is not None:
                self.server.refuse(event.session_id, self.refusal)
            else:
                for early in self.server.accept(event.session_id):
                    self._serve(early)


def ends() -> Ends:
    pair = connected()
    pair.client_events.clear()
    pair.server_events.clear()
    return Ends(pair, WebTransportLayer(pair.client), WebTransportLayer(pair.server))


def open_session() -> tuple[Ends, int]:
    both = ends()
    session_id = both.client.connect("gateway.example", "/v1/voice")
    both.exchange()
    return both, session_id


def of(kind: type[E], events: list[WebTransportEvent]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def closed_with(both: Ends) -> int:
    both.exchange()
    both.pair.now += 10
    both.exchange(1)
    return both.ended[0].error_code


def plain_client() -> tuple[Ends, H3Connection]:
    """The server's layer against aioquic's own HTTP/3 client."""
    pair = connected()
    pair.client_events.clear()
    pair.server_events.clear()
    both = Ends(pair, None, WebTransportLayer(pair.server))
    return both, H3Connection(pair.client, enable_webtransport=True)


CONNECT = {
    ":method": "CONNECT",
    ":scheme": "https",
    ":authority": "gateway.example",
    ":path": "/v1/voice",
    ":protocol": "webtransport",
}
