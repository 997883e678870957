"""What every telephony vendor must do. Subclass it in a test file and write the vendor's own messages:

```python
from voice_gateway.testing.vendor_contract import VendorContract

class TestMyVendor(VendorContract):
    def make(self, secrets: VendorSecrets) -> Vendor: ...
    def started(self, call: str, parameters: Mapping[str, str]) -> bytes: ...
```

A real `TelephoneCall` and `TelephonyService` run on it, without sockets and without a session.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from voice_gateway.telephony.call import TelephoneCall, TelephonyCounters
from voice_gateway.telephony.service import TelephonyService
from voice_gateway.telephony.vendor import Vendor, VendorSecrets
from voice_gateway.transport.base import SessionRequest, TransportHandler
from voice_gateway.web.server import WebRequest, WebResponse
from voice_gateway.web.websocket import Ending
from voicelink.wire import (
    VOICE_PATH,
    AudioFrame,
    Bye,
    ClientMessage,
    Codec,
    Dtmf,
    Malformed,
    Played,
    Ready,
    Start,
)

SPEECH = bytes(range(160))
"""20 ms of mu-law."""
STREAM = "stream-1"
CALL = "call-1"
PUBLIC = "https://gateway.example.com"
NOW = 1_800_000_000.0
SECRETS = VendorSecrets("sesame of the account")


class RecordingSession(TransportHandler):
    """Records what reaches the session."""

    def __init__(self) -> None:
        self.requests: list[SessionRequest] = []
        self.messages: list[Any] = []
        self.frames: list[AudioFrame] = []
        self.losses: list[str] = []

    def accept(self, request: SessionRequest, transport: object) -> RecordingSession:
        self.requests.append(request)
        return self

    def message_received(self, message: ClientMessage) -> None:
        self.messages.append(message)

    def audio_received(self, frame: AudioFrame) -> None:
        self.frames.append(frame)

    def malformed_received(self, fault: Malformed) -> None:
        self.losses.append(fault.reason)

    def lost(self, reason: str) -> None:
        self.losses.append(reason)

    def left(self, reason: str) -> None:
        self.losses.append(reason)


class RecordingSocket:
    """Records what is sent to the vendor over the WebSocket."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed: tuple[int, str] | None = None

    def send_text(self, text: bytes) -> None:
        assert self.closed is None, "nothing is sent to a closed socket"
        self.sent.append(text)

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


class Line:
    """One call over the vendor's media stream."""

    def __init__(self, vendor: Vendor, *, is_ready: bool = True) -> None:
        self.vendor = vendor
        self.session, self.socket, self.counters = RecordingSession(), RecordingSocket(), TelephonyCounters()
        self.call = TelephoneCall(
            vendor,
            self.socket,  # type: ignore[arg-type]
            VOICE_PATH,
            "192.0.2.1:5000",
            self.session.accept,
            self.counters,
        )

    def ready(self) -> None:
        """Let the session begin."""
        self.call.send(Ready(session="s-1", worker="worker-1", codec=Codec.PCMU))

    def says(self, utterance_id: int, frames: int) -> None:
        """Let the session speak one utterance."""
        for number in range(frames):
            self.call.send_audio(utterance_id, [AudioFrame(number, number * 960, Codec.PCMU, SPEECH)])
        self.call.end_audio(utterance_id)

    def of(self, kind: type) -> list[Any]:
        """The messages of this kind that reached the session."""
        return [message for message in self.session.messages if isinstance(message, kind)]


class VendorContract:
    """The tests; see the module's description. Override `make` and the messages of the vendor's side."""

    @abstractmethod
    def make(self, secrets: VendorSecrets) -> Vendor:
        """Return the vendor."""

    @abstractmethod
    def started(self, stream: str, call: str, parameters: Mapping[str, str]) -> bytes:
        """The message that begins a stream."""

    @abstractmethod
    def media(self, stream: str, number: int, payload: bytes) -> bytes:
        """The caller's audio; the first has `number` 1, each lasts 20 ms."""

    @abstractmethod
    def stopped(self, stream: str) -> bytes:
        """The message that ends a call."""

    def key(self, stream: str, digit: str) -> bytes | None:
        """A pressed key; `None` if the vendor reports none."""
        return None

    def played(self, message: bytes) -> bytes | None:
        """Return the answer to one of our messages if it is a mark that was reached."""
        return None

    @abstractmethod
    def spoken(self, message: bytes) -> bytes | None:
        """Return the mu-law bytes of one of our messages if it is audio for the caller."""

    @abstractmethod
    def signed(self, url: str, form: Mapping[str, str]) -> dict[str, str]:
        """Headers, in lower case, with the vendor's signature made with `SECRETS`."""

    def webhook_form(self, call: str) -> dict[str, str]:
        """The form of a webhook that asks what to do with a call."""
        return {"call_id": call}

    @abstractmethod
    def stream_parameters(self, document: str) -> dict[str, str]:
        """The stream's parameters in an answer document."""

    def run(self, test: Callable[[Line], Awaitable[None]], *, is_ready: bool = True) -> None:
        """Run a test on a started line, in an event loop of its own."""

        async def whole() -> None:
            line = Line(self.make(VendorSecrets()))
            line.call.text_received(self.started(STREAM, CALL, {"agent": "echo", "token": "sesame"}))
            if is_ready:
                line.ready()
            await test(line)
            line.call.closed("the test is over", Ending.CLOSED)

        asyncio.run(whole())

    def test_a_stream_starts_a_session_with_its_parameters(self) -> None:
        async def test(line: Line) -> None:
            [request] = line.session.requests
            assert (request.key, request.access_token) == (CALL, "sesame")
            assert line.session.messages == [Start(accept=(Codec.PCMU,), agent="echo")]

        self.run(test)

    def test_the_callers_audio_arrives_untouched_and_numbered(self) -> None:
        async def test(line: Line) -> None:
            for number in range(1, 6):
                line.call.text_received(self.media(STREAM, number, SPEECH))
            assert [frame.payload for frame in line.session.frames] == [SPEECH] * 5
            assert [frame.sequence for frame in line.session.frames] == list(range(5))
            assert [frame.timestamp for frame in line.session.frames] == [960 * n for n in range(5)]

        self.run(test)

    def test_audio_before_the_session_is_ready_is_held_back(self) -> None:
        async def test(line: Line) -> None:
            line.call.text_received(self.media(STREAM, 1, SPEECH))
            assert not line.session.frames
            line.ready()
            assert len(line.session.frames) == 1

        self.run(test, is_ready=False)

    def test_the_sessions_audio_reaches_the_caller_untouched(self) -> None:
        async def test(line: Line) -> None:
            line.says(1, 3)
            assert [p for message in line.socket.sent if (p := self.spoken(message)) is not None] == [SPEECH] * 3

        self.run(test)

    def test_what_was_played_is_reported(self) -> None:
        async def test(line: Line) -> None:
            line.says(1, 3)
            for message in line.socket.sent:
                answer = self.played(message)
                if answer is not None:
                    line.call.text_received(answer)
            async with asyncio.timeout(20):
                while not any(each.is_complete for each in line.of(Played)):  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            assert line.of(Played)[-1] == Played(utterance_id=1, position_ms=60, is_complete=True)

        self.run(test)

    def test_nothing_of_an_utterance_that_was_reset_is_sent_or_reported(self) -> None:
        async def test(line: Line) -> None:
            line.says(1, 10)
            line.call.reset_audio(1)
            sent = len(line.socket.sent)
            line.call.send_audio(1, [AudioFrame(10, 9600, Codec.PCMU, SPEECH)])
            assert len(line.socket.sent) == sent

        self.run(test)

    def test_keys_reach_the_session(self) -> None:
        async def test(line: Line) -> None:
            message = self.key(STREAM, "5")
            if message is not None:
                line.call.text_received(message)
                assert line.of(Dtmf) == [Dtmf(digit="5")]

        self.run(test)

    def test_the_end_of_a_call_ends_the_session(self) -> None:
        async def test(line: Line) -> None:
            line.call.text_received(self.media(STREAM, 1, SPEECH))
            line.call.text_received(self.stopped(STREAM))
            [bye] = line.of(Bye)
            assert bye.frames == 1

        self.run(test)

    def test_messages_of_another_stream_and_garbage_are_passed_over(self) -> None:
        async def test(line: Line) -> None:
            line.call.text_received(self.media("another", 1, SPEECH))
            for garbage in (b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"event":7}', b"[" * 10_000, b'"' * 100):
                line.call.text_received(garbage)
            assert not line.session.frames
            assert line.socket.closed is None
            line.call.text_received(self.media(STREAM, 1, SPEECH))
            assert len(line.session.frames) == 1

        self.run(test)

    def test_a_second_start_changes_nothing(self) -> None:
        async def test(line: Line) -> None:
            line.call.text_received(self.started("another", "call-2", {}))
            assert len(line.session.requests) == 1

        self.run(test)

    def test_empty_and_oversized_payloads_are_passed_over(self) -> None:
        async def test(line: Line) -> None:
            line.call.text_received(self.media(STREAM, 1, b""))
            line.call.text_received(self.media(STREAM, 2, bytes(65_536)))
            assert not line.session.frames

        self.run(test)

    def test_only_signed_webhooks_are_answered_and_each_once(self) -> None:
        async def whole() -> None:
            service = self.service()
            form = self.webhook_form(CALL)
            signed = self.asked(service.vendor, form, self.signed(PUBLIC + service.vendor.webhook_path, form))
            forged = self.asked(service.vendor, self.webhook_form("call-2"), signed.headers)
            assert service.webhook(forged).status is HTTPStatus.FORBIDDEN
            assert service.webhook(self.asked(service.vendor, form, {})).status is HTTPStatus.FORBIDDEN
            assert service.webhook(signed).status is HTTPStatus.OK
            assert service.counters.refused_signatures == 2
            service.clock = lambda: NOW + 60
            assert service.webhook(signed).status is HTTPStatus.FORBIDDEN
            assert service.counters.refused_replays == 1

        asyncio.run(whole())

    def test_a_stream_token_opens_one_stream_of_its_call(self) -> None:
        async def whole() -> None:
            service = self.service()
            form = self.webhook_form(CALL)
            answer = service.webhook(
                self.asked(service.vendor, form, self.signed(PUBLIC + service.vendor.webhook_path, form))
            )
            parameters = self.stream_parameters(answer.text)
            assert await service._vouch("call-2", parameters) is None
            vouched = await service._vouch(CALL, parameters)
            assert vouched is not None
            assert vouched.is_key_signed
            assert await service._vouch(CALL, parameters) is None

        asyncio.run(whole())

    def test_an_unsigned_stream_is_refused(self) -> None:
        async def whole() -> None:
            service = self.service()
            request = WebRequest("GET", service.vendor.stream_path, {}, "192.0.2.1:5000")
            answer = service.stream(request, RecordingSocket())  # type: ignore[arg-type]
            assert isinstance(answer, WebResponse)
            assert answer.status is HTTPStatus.FORBIDDEN

        asyncio.run(whole())

    def service(self) -> TelephonyService:
        """The webhooks and streams of a worker with `SECRETS`."""
        session = RecordingSession()
        vendor = self.make(SECRETS)
        return TelephonyService(
            vendor,
            session.accept,
            TelephonyCounters(),
            public_url=PUBLIC,
            clock=lambda: NOW,
        )

    def asked(self, vendor: Vendor, form: Mapping[str, str], headers: Mapping[str, str]) -> WebRequest:
        """A webhook."""
        content = {"content-type": "application/x-www-form-urlencoded"}
        target = vendor.webhook_path
        return WebRequest("POST", target, {**headers, **content}, "192.0.2.1:5000", urlencode(form).encode())
