"""Plays Twilio's side of a telephone call: what a worker gets from, and gives to, Media Streams.

Written from Twilio's documentation, apart from the worker's own reading of it: the two check each other.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from urllib.parse import urlencode
from xml.etree import ElementTree

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from gateway.audio.g711 import pcmu_decode
from gateway.errors import GatewayError
from gateway.simulator.loudspeaker import SILENCE, Loudspeaker
from gateway.transport.twilio.signature import signature

DEFAULT_CALL_SID: Final = "CA" + "0" * 31 + "1"
FRAME_OCTETS: Final = 160
FRAME_MS: Final = 20
ANSWER_TIMEOUT_S: Final = 20.0
"""How long the caller waits for a first word after having spoken."""
PATIENCE_S: Final = 2.0
"""How long after the last word the caller hangs up."""
_HTTP_TIMEOUT_S: Final = 10.0
_LOUDEST_SILENCE: Final = 500


class SimulationError(GatewayError):
    """The call could not be made, or broke."""


@dataclass(frozen=True, slots=True)
class Call:
    """Whom Twilio calls for: `url` is a stream's (`wss:`, `ws:`), or that of a page with TwiML (`https:`, `http:`)."""

    url: str
    call_sid: str = DEFAULT_CALL_SID
    stream_sid: str = "MZ" + "0" * 31 + "1"
    account_sid: str = "AC" + "0" * 32
    auth_token: str | None = field(default=None, repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Result:
    """What Twilio's side saw. Of marks, `marks_played` were reached, `marks_cleared` came back by `clear`.

    `answer_delay_ms` is the time from the caller's last word to the first audio after it, `None` without any.
    """

    call_sid: str
    is_answered: bool = False
    frames_sent: int = 0
    media_received: int = 0
    played_ms: int = 0
    marks_played: int = 0
    marks_cleared: int = 0
    clears: int = 0
    answer_delay_ms: int | None = None
    closed: str | None = None
    """How the worker closed the stream, where it did so first."""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


class TwilioSimulator:
    """One call: `await run(...)`, then read `result` and `recording`.

    A frame of 20 ms is sent every `tick_s` and plays as much of the answer: less than 0.02 is faster than real time.
    The caller speaks, falls silent, hears the answer, and hangs up.
    """

    def __init__(self, call: Call, *, tls: ssl.SSLContext | None = None, tick_s: float = 0.02) -> None:
        self.result = Result(call.call_sid)
        self._call = call
        self._tls = tls
        self._tick_s = tick_s
        self._loudspeaker = Loudspeaker()
        self._sequence = 0
        self._quiet_ticks = 0
        self._last_word = 0
        self._spoken_at: float | None = None

    @property
    def recording(self) -> bytes:
        """What the caller heard, in mu-law, with the silences."""
        return bytes(self._loudspeaker.recording)

    async def run(self, speech: bytes) -> Result:
        """Call, say `speech` (mu-law at 8 kHz), wait for the answer to end, and hang up; raises `SimulationError`."""
        self._last_word = _last_word(speech)
        url, parameters = await self._stream()
        tls = self._tls if url.startswith("wss:") else None
        try:
            signed = self._signed(url)
            async with connect(url, ssl=tls, additional_headers=signed, compression=None, max_queue=None) as socket:
                await self._converse(socket, dict(parameters), speech)
        except ConnectionClosed as closed:
            self.result.closed = str(closed)
        except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as error:
            raise SimulationError(f"{url}: {error}") from None
        self.result.played_ms = self._loudspeaker.played_octets * FRAME_MS // FRAME_OCTETS
        return self.result

    async def _stream(self) -> tuple[str, Mapping[str, str]]:
        if not self._call.url.startswith("http"):
            return self._call.url, self._call.parameters
        document = await asyncio.to_thread(self._fetch)
        try:
            # the operator's own worker answers, and expat expands nothing from outside
            stream = ElementTree.fromstring(document).find("./Connect/Stream")  # noqa: S314
        except ElementTree.ParseError as error:
            raise SimulationError(f"{self._call.url}: no TwiML: {error}") from None
        if stream is None or not stream.get("url"):
            raise SimulationError(f"{self._call.url}: the TwiML connects to no stream")
        named = {each.get("name", ""): each.get("value", "") for each in stream.iter("Parameter")}
        return stream.get("url", ""), named | dict(self._call.parameters)

    def _fetch(self) -> bytes:
        form = {"AccountSid": self._call.account_sid, "CallSid": self._call.call_sid, "CallStatus": "ringing"}
        headers = self._signed(self._call.url, form)
        asked = urllib.request.Request(self._call.url, urlencode(form).encode(), headers)  # noqa: S310 - http only
        try:
            with urllib.request.urlopen(asked, timeout=_HTTP_TIMEOUT_S, context=self._tls) as answer:  # noqa: S310
                document: bytes = answer.read()
        except (urllib.error.URLError, OSError) as error:
            raise SimulationError(f"{self._call.url}: {error}") from None
        return document

    def _signed(self, url: str, form: Mapping[str, str] | None = None) -> dict[str, str]:
        token = self._call.auth_token
        return {} if token is None else {"X-Twilio-Signature": signature(token, url, (form or {}).items())}

    async def _converse(self, socket: ClientConnection, parameters: dict[str, str], speech: bytes) -> None:
        call = self._call
        await self._send(socket, {"event": "connected", "protocol": "Call", "version": "1.0.0"})
        facts = {
            "accountSid": call.account_sid,
            "streamSid": call.stream_sid,
            "callSid": call.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": parameters,
        }
        await self._send_numbered(socket, "start", {"start": facts})
        listening = asyncio.create_task(self._listen(socket))
        try:
            await self._speak(socket, speech, listening)
            ended = {"accountSid": call.account_sid, "callSid": call.call_sid}
            await self._send_numbered(socket, "stop", {"stop": ended})
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _speak(self, socket: ClientConnection, speech: bytes, listening: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        speech += SILENCE * (-len(speech) % FRAME_OCTETS)
        while not self._is_done(len(speech)):
            if listening.done():
                listening.result()
                return
            at = self.result.frames_sent * FRAME_OCTETS
            payload = speech[at : at + FRAME_OCTETS] or SILENCE * FRAME_OCTETS
            self.result.frames_sent += 1
            number, timestamp_ms = self.result.frames_sent, (self.result.frames_sent - 1) * FRAME_MS
            facts = {"track": "inbound", "chunk": str(number), "timestamp": str(timestamp_ms)}
            await self._send_numbered(socket, "media", {"media": facts | {"payload": b64encode(payload).decode()}})
            if number == self._last_word:
                self._spoken_at = loop.time()
            was_silent = self._loudspeaker.is_silent
            for name in self._loudspeaker.advance(FRAME_OCTETS):
                self.result.marks_played += 1
                await self._send_numbered(socket, "mark", {"mark": {"name": name}})
            self._quiet_ticks = self._quiet_ticks + 1 if was_silent else 0
            due += self._tick_s
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _is_done(self, speech_octets: int) -> bool:
        """The caller has spoken, and heard all of the answer, or waited for it long enough."""
        if self.result.frames_sent * FRAME_OCTETS < speech_octets:
            return False
        quiet_s = self._quiet_ticks * FRAME_MS / 1000
        return quiet_s >= (PATIENCE_S if self.result.is_answered else ANSWER_TIMEOUT_S)

    async def _listen(self, socket: ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            match message["event"]:
                case "media":
                    self._loudspeaker.media(b64decode(message["media"]["payload"], validate=True))
                    self._count_media()
                case "mark":
                    self._loudspeaker.mark(message["mark"]["name"])
                case "clear":
                    self.result.clears += 1
                    for name in self._loudspeaker.clear():
                        self.result.marks_cleared += 1
                        await self._send_numbered(socket, "mark", {"mark": {"name": name}})
                case event:
                    raise SimulationError(f"Twilio knows no event {event!r}")

    def _count_media(self) -> None:
        self.result.media_received += 1
        if self._spoken_at is not None and not self.result.is_answered:
            self.result.is_answered = True
            self._quiet_ticks = 0
            since_s = asyncio.get_running_loop().time() - self._spoken_at
            self.result.answer_delay_ms = round(since_s * 1000)

    async def _send_numbered(self, socket: ClientConnection, event: str, facts: dict[str, Any]) -> None:
        self._sequence += 1
        head = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self._call.stream_sid}
        await self._send(socket, head | facts)

    async def _send(self, socket: ClientConnection, message: dict[str, Any]) -> None:
        await socket.send(json.dumps(message))


def _last_word(speech: bytes) -> int:
    """The number, from 1, of the last frame that is no silence."""
    loud = np.flatnonzero(np.abs(np.frombuffer(pcmu_decode(speech), "<i2").astype(np.int32)) > _LOUDEST_SILENCE)
    return int(loud[-1]) // FRAME_OCTETS + 1 if len(loud) else 1
