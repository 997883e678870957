"""Small UDP parts for the integration tests: a client of the voice protocol, a rebinding NAT, a load balancer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from aioquic.tls import SessionTicket

from quiclb import CidEncoder, QuicLbConfig, SppHeader, unwrap, wrap
from quiclb.net.spp import SppFault
from tests.unit.voice_gateway.transport.harness import Session
from tests.unit.voicelink.quic.harness import SERVER_ADDRESS, client_configuration, identity, seeded
from voice_gateway.endpoint.cids.issuers import CidIssuer
from voice_gateway.endpoint.endpoint import Endpoint, EndpointSettings
from voice_gateway.transport.base import Transport
from voice_gateway.transport.webtransport import VoiceOverWebTransport
from voicelink.h3.webtransport import StreamData, WebTransportEvent, WebTransportLayer
from voicelink.quic import Connection, ResumptionCallbacks
from voicelink.quic.cid_source import RandomCids
from voicelink.quic.events import ConnectionTerminated, QuicEvent
from voicelink.wire import (
    AudioFrame,
    ClientMessage,
    Codec,
    Malformed,
    Pong,
    ServerMessage,
    Start,
    StreamType,
    encode_audio_frame,
    encode_message,
    encode_varint,
    length_prefixed,
)

Address = tuple[str, int]


class Socket(asyncio.DatagramProtocol):
    """A UDP socket that calls `received(datagram, address)`."""

    def __init__(self, received: Callable[[bytes, Any], None]) -> None:
        self._received = received
        self.transport = cast(asyncio.DatagramTransport, None)

    @classmethod
    async def open(cls, received: Callable[[bytes, Any], None], host: str = "127.0.0.1") -> Socket:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(lambda: cls(received), local_addr=(host, 0))
        return protocol

    @property
    def address(self) -> Address:
        name: Address = self.transport.get_extra_info("sockname")
        return name

    def send(self, datagram: bytes, address: Any) -> None:
        self.transport.sendto(datagram, address)

    def close(self) -> None:
        self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._received(data, addr)


class EchoSession(Session):
    """Answers each frame with a `pong` of its sequence, so that a test sees both directions."""

    def audio_received(self, frame: AudioFrame) -> None:
        super().audio_received(frame)
        assert self.transport is not None
        self.transport.send(Pong(id=frame.sequence))


@dataclass
class Sessions:
    """An acceptor that keeps every session."""

    all: list[EchoSession] = field(default_factory=list)

    def accept(self, request: Any, transport: Transport) -> Any:
        session = EchoSession()
        self.all.append(session)
        return session.accept(request, transport)


def issuer(server_id: int = 1, config_id: int = 0) -> CidIssuer:
    config = QuicLbConfig(config_id, 4, 12, key=b"k" * 16)
    encoder = CidEncoder(config, server_id.to_bytes(4, "big"), rng=os.urandom)
    return CidIssuer(encoder, b"r" * 32, os.urandom)


@asynccontextmanager
async def serving(
    sessions: Sessions | None = None, cids: CidIssuer | None = None, **settings: Any
) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(
        EndpointSettings(**settings),
        identity(),
        cids or issuer(),
        VoiceOverWebTransport((sessions or Sessions()).accept),
    )
    await endpoint.open()
    try:
        yield endpoint
    finally:
        await endpoint.close("test over")


class Client:
    """A voice client on real sockets, which can change them."""

    def __init__(self, server: Address, **configuration: Any) -> None:
        self.server = server
        self.loop = asyncio.get_running_loop()
        self.tickets: list[SessionTicket] = []
        self.quic = Connection(
            configuration=client_configuration(**configuration),
            cids=RandomCids(8, os.urandom),
            resumption=ResumptionCallbacks(ticket_received=self.tickets.append),
        )
        self.sockets: list[Socket] = []
        self.quic_events: list[QuicEvent] = []
        self.events: list[WebTransportEvent] = []
        self.sequence = 0
        self._timer: asyncio.TimerHandle | None = None

    async def connect(self, path: str = "/v1/voice", host: str = "127.0.0.1") -> Client:
        """Begin; the handshake, CONNECT and the streams go out together."""
        self.sockets.append(await Socket.open(self._received, host))
        self.quic.connect(self.server, self.loop.time())
        self.layer = WebTransportLayer(self.quic)
        self.session_id = self.layer.connect("localhost", path)
        self.control = self.layer.open_stream(self.session_id, is_unidirectional=False)
        self.uplink = self.layer.open_stream(self.session_id, is_unidirectional=True)
        self.layer.send(self.uplink, encode_varint(StreamType.UPLINK_AUDIO))
        self.send(Start())
        return self

    def send(self, message: ClientMessage) -> None:
        self.layer.send(self.control, length_prefixed(encode_message(message)))
        self.flush()

    def speak(self, frames: int = 1) -> None:
        for _ in range(frames):
            frame = AudioFrame(self.sequence, self.sequence * 960, Codec.OPUS, bytes(80))
            self.layer.send(self.uplink, length_prefixed(encode_audio_frame(frame)))
            self.sequence += 1
        self.flush()

    async def migrate(self, host: str = "127.0.0.1") -> None:
        """Go on from a new socket; the old one stays open."""
        self.sockets.append(await Socket.open(self._received, host))
        assert self.quic.begin_migration(self.loop.time())
        self.flush()

    def flush(self) -> None:
        self._collect()
        for datagram, address in self.quic.datagrams_to_send(self.loop.time()):
            self.sockets[-1].send(datagram, address)
        self._collect()
        if self._timer is not None:
            self._timer.cancel()
        timer_at = self.quic.get_timer()
        self._timer = self.loop.call_at(timer_at, self._fire) if timer_at is not None else None

    @property
    def pongs(self) -> list[int]:
        """The sequences of the frames that the session has answered."""
        data = b"".join(e.data for e in self.events if isinstance(e, StreamData) and not e.is_unidirectional)
        return [message.id for message in messages(data) if isinstance(message, Pong)]

    @property
    def termination(self) -> ConnectionTerminated | None:
        return next((e for e in self.quic_events if isinstance(e, ConnectionTerminated)), None)

    def has(self, kind: type[Any]) -> bool:
        return any(isinstance(event, kind) for event in [*self.events, *self.quic_events])

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for socket in self.sockets:
            socket.close()

    def _received(self, datagram: bytes, address: Any) -> None:
        self.quic.receive_datagram(datagram, address, self.loop.time())
        self.flush()

    def _fire(self) -> None:
        self.quic.handle_timer(self.loop.time() + 0.001)
        self.flush()

    def _collect(self) -> None:
        while (event := self.quic.next_event()) is not None:
            self.quic_events.append(event)
            self.events += self.layer.handle_event(event)


def messages(raw: bytes) -> list[ServerMessage]:
    """All messages of a control stream's bytes."""
    from voicelink.wire import LengthPrefixedReader, decode_server_message

    bodies = LengthPrefixedReader(1 << 20).feed(raw)
    assert not isinstance(bodies, Malformed)
    decoded = [decode_server_message(body) for body in bodies]
    return [message for message in decoded if message is not None and not isinstance(message, Malformed)]


class Nat:
    """Relays between one client and a server from an address that `rebind` changes."""

    def __init__(self, server: Address) -> None:
        self._server = server
        self._client: Any = None

    async def open(self) -> Nat:
        self.inside = await Socket.open(self._from_client)
        self._outside = await Socket.open(self._from_server)
        return self

    async def rebind(self, host: str = "127.0.0.1") -> None:
        old, self._outside = self._outside, await Socket.open(self._from_server, host)
        old.close()

    def close(self) -> None:
        self.inside.close()
        self._outside.close()

    def _from_client(self, datagram: bytes, address: Any) -> None:
        self._client = address
        self._outside.send(datagram, self._server)

    def _from_server(self, datagram: bytes, address: Any) -> None:
        self.inside.send(datagram, self._client)


class FakeLoadBalancer:
    """A load balancer of one backend that speaks SPP on its inner side."""

    def __init__(self, backend: Address, vip: Address) -> None:
        self._backend = backend
        self._vip = vip
        self.answers = 0

    async def open(self, host: str = "127.0.0.1") -> FakeLoadBalancer:
        self.inner = await Socket.open(self._from_backend, host)
        return self

    def forward(self, datagram: bytes, client: Address) -> None:
        self.inner.send(wrap(SppHeader(client, self._vip), datagram), self._backend)

    def _from_backend(self, datagram: bytes, address: Any) -> None:
        unwrapped = unwrap(datagram)
        assert not isinstance(unwrapped, SppFault)
        self.answers += 1
        self.outside.send(unwrapped[1], unwrapped[0].client)

    outside: Socket


def client_and_initial(seed: int) -> tuple[Connection, bytes]:
    """A client that has sent the first datagram of an honest handshake, and that datagram."""
    client = Connection(configuration=client_configuration(), cids=RandomCids(8, seeded(seed)))
    client.connect(SERVER_ADDRESS, 0.0)
    return client, client.datagrams_to_send(0.0)[0][0]


def initial(seed: int) -> bytes:
    """The first datagram of an honest client's handshake."""
    return client_and_initial(seed)[1]
