"""A voice server on a real socket that keeps the protocol unless a test scripts a fault."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from voice_gateway.endpoint.cids.issuers import UnroutableIssuer
from voice_gateway.endpoint.endpoint import Endpoint, EndpointSettings
from voice_gateway.endpoint.tls.identity import TlsIdentity
from voice_gateway.transport.base import Refusal, SessionRequest, Transport, TransportHandler
from voice_gateway.transport.webtransport import VoiceOverWebTransport
from voicelink.wire import (
    AudioFrame,
    Bye,
    ClientMessage,
    Codec,
    Heard,
    Malformed,
    Ping,
    Played,
    Pong,
    Ready,
    Speech,
    Start,
    State,
    Transcript,
)

TOKEN = "let-me-in"
ORDER = {"kind": "drink-order", "status": "open", "currency": "USD", "items": [], "total": "0.00"}
ANSWER_FRAMES = 20


class ScriptedSession(TransportHandler):
    """Acknowledges every frame, and answers the caller's bye with 0.4 s of speech before its own."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.frames: list[AudioFrame] = []
        self.has_frame = asyncio.Event()
        self.messages: list[ClientMessage] = []
        self.peers: list[str] = []
        self.fault: Malformed | None = None
        self.lost_reason: str | None = None
        self.caller_bye: Bye | None = None
        self.has_answered = False

    def message_received(self, message: ClientMessage) -> None:
        self.messages.append(message)
        match message:
            case Start():
                self.transport.send(Ready(session="s-1", worker="w-1", codec=message.accept[0]))
            case Ping():
                self.transport.send(Pong(id=message.id))
            case Bye():
                self.caller_bye = message
                self.end_if_all_arrived()
            case Played(utterance_id=1, is_complete=True):
                self.transport.send(Bye(frames=len(self.frames)))

    def audio_received(self, frame: AudioFrame) -> None:
        assert frame.sequence == len(self.frames)
        self.frames.append(frame)
        self.has_frame.set()
        self.end_if_all_arrived()

    def end_if_all_arrived(self) -> None:
        if self.caller_bye is None or len(self.frames) < self.caller_bye.frames or self.has_answered:
            return
        self.has_answered = True
        if self.frames:
            self.transport.send(Heard(sequence=len(self.frames) - 1))
        self.transport.send(Transcript(turn=1, role="user", text="one black tea", is_final=True))
        self.transport.send(State(revision=1, state=ORDER))
        self.answer(1)

    def answer(self, utterance_id: int, frames: int = ANSWER_FRAMES) -> None:
        self.transport.send(Speech(utterance_id=utterance_id, turn=1))
        self.transport.send_audio(
            utterance_id,
            [AudioFrame(number, number * 960, Codec.PCM16_24K, b"\x00\x10" * 480) for number in range(frames)],
        )
        self.transport.end_audio(utterance_id)
        self.transport.send(Transcript(turn=1, role="agent", text="anything else?", is_final=True))

    def malformed_received(self, fault: Malformed) -> None:
        self.fault = fault
        self.transport.close(fault.code, fault.reason)

    def path_changed(self, peer: str) -> None:
        self.peers.append(peer)

    def lost(self, reason: str) -> None:
        self.lost_reason = reason

    def left(self, reason: str) -> None:
        self.lost_reason = reason


class ScriptedServer:
    """Where the server is, and its sessions."""

    def __init__(self, folder: Path, make_session: Callable[[Transport], ScriptedSession]) -> None:
        self.sessions: list[ScriptedSession] = []
        self.has_session = asyncio.Event()
        self.requests: list[SessionRequest] = []
        self._make_session = make_session
        self.ca_file = folder / "ca.pem"
        certificate, key = self_signed()
        self.ca_file.write_bytes(certificate)
        self.identity = TlsIdentity.from_pem(certificate, key, now=time.time())
        self.endpoint = Endpoint(
            EndpointSettings(host="127.0.0.1", port=0),
            self.identity,
            UnroutableIssuer(
                length_bytes=17, reset_key=bytes(32), rng=os.urandom, is_migration_disabled=False, active_limit=4
            ),
            VoiceOverWebTransport(self.accept),
            wall_clock=time.time,
            rng=os.urandom,
        )

    @property
    def url(self) -> str:
        assert self.endpoint.address is not None
        return f"https://127.0.0.1:{self.endpoint.address[1]}/v1/voice"

    @property
    def certificate_hash(self) -> str:
        return self.identity.fingerprint_sha256.hex()

    def accept(self, request: SessionRequest, transport: Transport) -> ScriptedSession | Refusal:
        self.requests.append(request)
        if request.access_token != TOKEN:
            return Refusal(401, "unknown token")
        self.sessions.append(self._make_session(transport))
        self.has_session.set()
        return self.sessions[-1]


@asynccontextmanager
async def serving(
    folder: Path, make_session: Callable[[Transport], ScriptedSession] = ScriptedSession
) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer(folder, make_session)
    await server.endpoint.open()
    try:
        yield server
    finally:
        await server.endpoint.close("the test is over")


def self_signed(name: str = "localhost") -> tuple[bytes, bytes]:
    """(certificate, key) in PEM for localhost and 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=10))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
