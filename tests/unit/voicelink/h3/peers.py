"""Scripted WebTransport clients, one for each dialect, each as strict as the real ones are or are reported to be.

A peer raises `RefusedError` where the server does not offer what it needs, and `ViolationError` where the server
exceeds the credit it was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aioquic.h3.connection import FrameType, H3Connection, H3Stream
from aioquic.h3.events import DatagramReceived, DataReceived, HeadersReceived, WebTransportStreamDataReceived

from tests.unit.voicelink.h3.harness import CONNECT, Ends
from tests.unit.voicelink.quic.harness import connected
from voicelink.h3.session.capsules import Capsule, CapsuleReader, CloseSession, MaxData, MaxStreams, encode_capsule
from voicelink.h3.session.codepoints import from_http_code
from voicelink.h3.webtransport import WebTransportLayer
from voicelink.quic.events import QuicEvent, StreamReset
from voicelink.wire import Malformed, encode_varint

ENABLE_WEBTRANSPORT, MAX_SESSIONS_07, MAX_SESSIONS_13, WT_ENABLED = 0x2B603742, 0xC671706A, 0x14E9CD29, 0x2C7CF000
INITIAL_MAX_DATA, INITIAL_MAX_STREAMS_UNI, INITIAL_MAX_STREAMS_BIDI = 0x2B61, 0x2B64, 0x2B65
CREDIT = (INITIAL_MAX_DATA, INITIAL_MAX_STREAMS_UNI, INITIAL_MAX_STREAMS_BIDI)
HTTP_SETTINGS = {0x33: 1, 0x1: 0, 0x7: 0}


class RefusedError(Exception):
    """The server lacks what this client needs; real ones give up without a word, or with WT_REQUIREMENTS_NOT_MET."""


class ViolationError(Exception):
    """The server sent more than this client has allowed."""


@dataclass(frozen=True)
class Script:
    """What a client says and what it needs."""

    settings: Mapping[int, int]
    needs: Mapping[int, int]
    """Settings of the server, and the least each must be."""
    protocol: str = "webtransport"
    headers: Mapping[str, str] = field(default_factory=dict)
    needs_partial_resets: bool = False
    has_credit: bool = False
    """Whether the client keeps to the server's credit, and holds the server to its own."""
    is_greasing: bool = False


CHROMIUM = Script(
    {ENABLE_WEBTRANSPORT: 1, 0xFFD277: 1},
    {ENABLE_WEBTRANSPORT: 1},
    headers={"sec-webtransport-http3-draft02": "1"},
    is_greasing=True,
)
FIREFOX = Script({ENABLE_WEBTRANSPORT: 1}, {ENABLE_WEBTRANSPORT: 1}, headers={"sec-webtransport-http3-draft02": "1"})
CHROMIUM_07 = Script({ENABLE_WEBTRANSPORT: 1, MAX_SESSIONS_07: 16}, {MAX_SESSIONS_07: 1}, is_greasing=True)
SAFARI = Script(
    {MAX_SESSIONS_13: 1, INITIAL_MAX_DATA: 0, INITIAL_MAX_STREAMS_UNI: 0, INITIAL_MAX_STREAMS_BIDI: 0},
    {MAX_SESSIONS_13: 1, **dict.fromkeys(CREDIT, 1)},
)
"""As reported of 26.4: no session without MAX_SESSIONS, or with more than one and no credit; it grants none itself."""
SAFARI_14 = Script(
    {MAX_SESSIONS_13: 100, INITIAL_MAX_DATA: 2000, INITIAL_MAX_STREAMS_UNI: 2, INITIAL_MAX_STREAMS_BIDI: 0},
    {MAX_SESSIONS_13: 2, **dict.fromkeys(CREDIT, 1)},
    has_credit=True,
)
"""As draft-14 section 5.1 has it, with flow control in use."""
WEBTRANSPORT_GO = Script({WT_ENABLED: 1}, {WT_ENABLED: 1}, "webtransport-h3", needs_partial_resets=True)
PYWEBTRANSPORT = Script(
    {WT_ENABLED: 1, INITIAL_MAX_DATA: 1000, INITIAL_MAX_STREAMS_UNI: 1, INITIAL_MAX_STREAMS_BIDI: 1},
    {WT_ENABLED: 1, **dict.fromkeys(CREDIT, 1)},
    "webtransport-h3",
    needs_partial_resets=True,
    has_credit=True,
)


class _Http(H3Connection):
    def __init__(self, quic: Any, settings: Mapping[int, int]) -> None:
        self._ours = settings
        super().__init__(quic)

    def _get_local_settings(self) -> dict[int, int]:
        return HTTP_SETTINGS | dict(self._ours)

    def _validate_settings(self, settings: dict[int, int]) -> None:
        """Any setting goes."""


class Peer:
    """A scripted client against the server's layer, both in memory."""

    def __init__(self, script: Script, server_settings: Mapping[int, int] | None = None) -> None:
        self.script = script
        pair = connected()
        pair.client_events.clear()
        pair.server_events.clear()
        self.ends = Ends(pair, None, WebTransportLayer(pair.server))
        self.quic = pair.client
        self.http = _Http(pair.client, script.settings)
        self.status = 0
        self.answer: dict[str, str] = {}
        self.streams: dict[int, bytes] = {}
        self.resets: dict[int, int | None] = {}
        self.named: dict[int, int | None] = {}
        """The session that the header of each reset stream had named by then."""
        self.datagrams: list[bytes] = []
        self.capsules: list[Capsule] = []
        self.session_id = -1
        self._reader = CapsuleReader()
        self._limits = {each: script.settings.get(each, 0) for each in CREDIT}
        self._sent = 0

    def open(self) -> int:
        """Check what the server offers, and ask for a session."""
        self.turn()
        offered = self.http.received_settings or {}
        if missing := {each: least for each, least in self.script.needs.items() if offered.get(each, 0) < least}:
            raise RefusedError({hex(each): least for each, least in missing.items()})
        if self.script.needs_partial_resets and not self.quic.peer_takes_partial_resets:
            raise RefusedError("reset_stream_at")
        self.session_id = self.request()
        self.turn()
        return self.session_id

    def request(self) -> int:
        """Send a CONNECT for another session."""
        session_id = self.quic.get_next_available_stream_id()
        fields = CONNECT | {":protocol": self.script.protocol} | dict(self.script.headers)
        self.http.send_headers(session_id, [(name.encode(), value.encode()) for name, value in fields.items()])
        if self.script.is_greasing:
            self.http.send_data(session_id, encode_varint(0x1D + 0x1F) + b"\x04abcd", end_stream=False)
        return session_id

    def send(self, data: bytes, *, is_unidirectional: bool = True) -> int:
        """Open a stream, and send on it as far as the server's credit goes."""
        offered = self.http.received_settings or {}
        if self.script.has_credit or self.script is SAFARI:
            assert offered[INITIAL_MAX_DATA] >= self._sent + len(data)
            assert offered[INITIAL_MAX_STREAMS_UNI if is_unidirectional else INITIAL_MAX_STREAMS_BIDI] > 0
            self._sent += len(data)
        stream_id = self.quic.get_next_available_stream_id(is_unidirectional=is_unidirectional)
        header = encode_varint(0x54 if is_unidirectional else 0x41) + encode_varint(self.session_id)
        self.quic.send_stream_data(stream_id, header + data)
        if not is_unidirectional:
            stream = self.http._stream[stream_id] = H3Stream(stream_id)
            stream.frame_type, stream.session_id = FrameType.WEBTRANSPORT_STREAM, self.session_id
        return stream_id

    def grant(self, capsule: MaxData | MaxStreams) -> None:
        """Give the server more credit."""
        if isinstance(capsule, MaxData):
            self._limits[INITIAL_MAX_DATA] = capsule.maximum
        else:
            kind = INITIAL_MAX_STREAMS_UNI if capsule.is_unidirectional else INITIAL_MAX_STREAMS_BIDI
            self._limits[kind] = capsule.maximum
        self.tell(capsule)
        self.turn()

    def tell(self, capsule: Capsule, *, end_stream: bool = False) -> None:
        """Send a capsule."""
        self.http.send_data(self.session_id, encode_capsule(capsule), end_stream)

    def turn(self, rounds: int = 3) -> None:
        """Let both sides have all that is on its way."""
        for _ in range(rounds):
            self.ends.exchange_with(self._received)

    def _received(self, event: QuicEvent) -> None:
        if isinstance(event, StreamReset):
            self.resets[event.stream_id] = from_http_code(event.error_code)
            stream = self.http._stream.get(event.stream_id)
            self.named[event.stream_id] = None if stream is None else stream.session_id
        for each in self.http.handle_event(event):
            match each:
                case HeadersReceived(stream_id=self.session_id):
                    fields = {name.decode(): value.decode() for name, value in each.headers}
                    self.status, self.answer = int(fields.pop(":status")), fields
                case DataReceived(stream_id=self.session_id, data=data):
                    capsules = self._reader.feed(data)
                    assert not isinstance(capsules, Malformed)
                    self.capsules += capsules
                case DatagramReceived(data=data):
                    self.datagrams.append(data)
                case WebTransportStreamDataReceived(stream_id=stream_id, data=data, session_id=self.session_id):
                    self.streams[stream_id] = self.streams.get(stream_id, b"") + data
        if self.script.has_credit:
            self._hold_to_credit()

    def _hold_to_credit(self) -> None:
        if sum(map(len, self.streams.values())) > self._limits[INITIAL_MAX_DATA]:
            raise ViolationError(f"more than {self._limits[INITIAL_MAX_DATA]} bytes")
        for kind, remainder in ((INITIAL_MAX_STREAMS_UNI, 3), (INITIAL_MAX_STREAMS_BIDI, 1)):
            if sum(each % 4 == remainder for each in self.streams) > self._limits[kind]:
                raise ViolationError(f"more than {self._limits[kind]} streams")

    @property
    def closed(self) -> CloseSession | None:
        """How the server ended the session."""
        return next((each for each in self.capsules if isinstance(each, CloseSession)), None)
