"""Plays Twilio's side of a telephone call: what a worker gets from, and gives to, Media Streams.

Written from Twilio's documentation, apart from the worker's own reading of it: the two check each other.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from voice_gateway.telephony.vendors.twilio import signature
from voice_gateway.telephony.vendors.twilio_simulator.loudspeaker import SILENCE, Loudspeaker
from voice_gateway.telephony.vendors.twilio_simulator.plan import Plan, SimulationError, fetch, read_plan
from voice_gateway.telephony.vendors.twilio_simulator.sentences import begin_again, sentences
from voicelink.audio.frames import FRAME_MS, FRAME_S, frame_samples

DEFAULT_CALL_SID: Final = "CA" + "0" * 31 + "1"
FRAME_BYTES: Final = frame_samples(8_000)
ANSWER_TIMEOUT_S: Final = 20.0
"""How long the caller waits for a first word after having spoken."""
PATIENCE_S: Final = 2.0
"""How long after the last word the caller hangs up."""
_LONGEST_LISTENING_TICKS: Final = 1_000
"""How long a caller who was cut off waits for the agent to have spoken: 20 s."""
_SHORTEST_LISTENING_TICKS: Final = 75
_MOST_BEHIND_S: Final = 0.1
"""A caller that was held up for longer, as on a busy machine, goes on at its pace: pauses keep their length."""
_POLITE_TICKS: Final = 25
"""So long a silence means that the agent waits for an answer."""


@dataclass(frozen=True, slots=True)
class TwilioCall:
    """Whom Twilio calls for: `url` is a stream's (`wss:`, `ws:`), or that of a page with TwiML (`https:`, `http:`).

    `others` are the same page at other workers, behind one name in real life: Twilio reaches one that is there.
    """

    url: str
    others: tuple[str, ...] = ()
    call_sid: str = DEFAULT_CALL_SID
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
    streams: int = 0
    """How many streams the call took: one, and one for each that broke and was asked for again."""
    closed: str | None = None
    """How the worker closed the last stream, where it did so first."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class TwilioSimulator:
    """One call: `await run(...)`, then read `result` and `recording`.

    A frame of 20 ms is sent every `tick_s` and plays as much of the answer: less than 0.02 is faster than real time.
    The caller speaks, falls silent, hears the answer, and hangs up. When the stream breaks Twilio asks the `action` of
    its TwiML what to do; what the caller says in between is lost. On the next stream the caller hears the agent out,
    and says again the sentence that was cut off. `noted` is called with what happens to streams.
    """

    def __init__(
        self,
        call: TwilioCall,
        *,
        tls: ssl.SSLContext | None = None,
        tick_s: float = FRAME_S,
        noted: Callable[[str, str], None] = lambda what, detail: None,
    ) -> None:
        self.result = Result(call.call_sid)
        self._call = call
        self._tls = tls
        self._tick_s = tick_s
        self._noted = noted
        self._loudspeaker = Loudspeaker()
        self._stream_sid = ""
        self._sequence = 0
        self._stream_frames = 0
        self._position = 0
        self._listening_ticks = 0
        self._quiet_ticks = 0
        self._last_word = 0
        self._spoken_at: float | None = None

    @property
    def said_ms(self) -> int:
        """How far the caller has come in what it says."""
        return self._position * FRAME_MS // FRAME_BYTES

    @property
    def recording(self) -> bytes:
        """What the caller heard, in mu-law, with the silences."""
        return bytes(self._loudspeaker.recording)

    async def run(self, speech: bytes) -> Result:
        """Call, say `speech` (mu-law at 8 kHz), wait for the answer to end, and hang up; raises `SimulationError`."""
        speech += SILENCE * (-len(speech) % FRAME_BYTES)
        said = sentences(speech)
        self._last_word = (said[-1].end - 1) // FRAME_BYTES + 1 if said else 1
        plan: Plan | None = await self._ask(self._call.url, "ringing")
        if plan is None:
            raise SimulationError(f"{self._call.url}: the TwiML connects to no stream")
        while plan is not None:
            if not await self._hold(plan, speech) or plan.action is None:
                break
            self._noted("broken", self.result.closed or "")
            self._interrupted(begin_again(said, self._position))
            plan = await self._ask(plan.action, "in-progress")
        self.result.played_ms = self._loudspeaker.played_bytes * FRAME_MS // FRAME_BYTES
        return self.result

    async def _hold(self, plan: Plan, speech: bytes) -> bool:
        """Hold the call over one stream; return whether it broke."""
        self.result.streams += 1
        self._stream_sid = f"MZ{self.result.streams:032x}"
        self._sequence = self._stream_frames = 0
        tls = self._tls if plan.url.startswith("wss:") else None
        try:
            signed = self._signed(plan.url)
            async with connect(
                plan.url, ssl=tls, additional_headers=signed, compression=None, max_queue=None
            ) as socket:
                self._noted("stream", plan.url)
                self.result.closed = None
                await self._converse(socket, dict(plan.parameters), speech)
        except ConnectionClosed as closed:
            self.result.closed = str(closed)
            return True
        except (OSError, InvalidHandshake, InvalidURI, TimeoutError, ValueError) as error:
            if self.result.streams == 1:
                raise SimulationError(f"{plan.url}: {error}") from None
            self.result.closed = str(error)
            return True
        return self.result.closed is not None

    def _interrupted(self, position: int) -> None:
        """The line is dead: what was queued is gone, and the caller will go on from `position`."""
        self._loudspeaker.clear()
        self._listening_ticks = _LONGEST_LISTENING_TICKS
        self._quiet_ticks = 0
        self._position = position
        if position < self._last_word * FRAME_BYTES:
            self._spoken_at = None
            self.result.is_answered = False

    async def _ask(self, url: str, status: str) -> Plan | None:
        """Ask what to do with the call, of the first worker that answers; `None` where it is to end."""
        if not url.startswith("http"):
            return Plan(url, self._call.parameters)
        faults = []
        token = str(uuid.uuid4())  # of one webhook, however often it is sent

        def signed(url: str, form: Mapping[str, str]) -> dict[str, str]:
            return {"I-Twilio-Idempotency-Token": token} | self._signed(url, form)

        for each in dict.fromkeys((url, *(_at(other, url) for other in self._call.others))):
            try:
                document = await asyncio.to_thread(fetch, each, self._form(status), signed, self._tls)
            except SimulationError as error:
                faults.append(str(error))
                continue
            return read_plan(each, document, self._call.parameters)
        raise SimulationError("; ".join(faults))

    def _form(self, status: str) -> dict[str, str]:
        return {"AccountSid": self._call.account_sid, "CallSid": self._call.call_sid, "CallStatus": status}

    def _signed(self, url: str, form: Mapping[str, str] | None = None) -> dict[str, str]:
        token = self._call.auth_token
        return {} if token is None else {"X-Twilio-Signature": signature(token, url, (form or {}).items())}

    async def _converse(self, socket: ClientConnection, parameters: dict[str, str], speech: bytes) -> None:
        call = self._call
        await self._send(socket, {"event": "connected", "protocol": "Call", "version": "1.0.0"})
        facts = {
            "accountSid": call.account_sid,
            "streamSid": self._stream_sid,
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
        while not self._is_done(len(speech)):
            if listening.done():
                listening.result()
                self.result.closed = f"{socket.close_code} {socket.close_reason}".strip()
                return
            payload, has_spoken = self._next(speech)
            self.result.frames_sent += 1
            self._stream_frames += 1
            number, timestamp_ms = self._stream_frames, (self._stream_frames - 1) * FRAME_MS
            facts = {"track": "inbound", "chunk": str(number), "timestamp": str(timestamp_ms)}
            await self._send_numbered(socket, "media", {"media": facts | {"payload": b64encode(payload).decode()}})
            if has_spoken:
                self._spoken_at = loop.time()
            was_silent = self._loudspeaker.is_silent
            for name in self._loudspeaker.advance(FRAME_BYTES):
                self.result.marks_played += 1
                await self._send_numbered(socket, "mark", {"mark": {"name": name}})
            self._quiet_ticks = self._quiet_ticks + 1 if was_silent else 0
            due = max(due + self._tick_s, loop.time() - _MOST_BEHIND_S)
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _next(self, speech: bytes) -> tuple[bytes, bool]:
        """The caller's next 20 ms, and whether the last word ends in them."""
        if self._listening_ticks:
            has_listened = _LONGEST_LISTENING_TICKS - self._listening_ticks > _SHORTEST_LISTENING_TICKS
            is_quiet = has_listened and self._quiet_ticks >= _POLITE_TICKS
            self._listening_ticks = 0 if is_quiet else self._listening_ticks - 1
            return SILENCE * FRAME_BYTES, False
        payload = speech[self._position : self._position + FRAME_BYTES] or SILENCE * FRAME_BYTES
        self._position += FRAME_BYTES
        return payload, self._position == self._last_word * FRAME_BYTES

    def _is_done(self, speech_bytes: int) -> bool:
        """The caller has spoken, and heard all of the answer, or waited for it long enough."""
        if self._position < speech_bytes or self._listening_ticks:
            return False
        quiet_s = self._quiet_ticks * FRAME_MS / 1000
        return quiet_s >= (PATIENCE_S if self.result.is_answered else ANSWER_TIMEOUT_S)

    async def _listen(self, socket: ClientConnection) -> None:
        async for text in socket:
            try:
                await self._take(socket, json.loads(text))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise SimulationError(f"no message of Media Streams: {text[:100]!r}") from None

    async def _take(self, socket: ClientConnection, message: dict[str, Any]) -> None:
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
        head = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self._stream_sid}
        await self._send(socket, head | facts)

    async def _send(self, socket: ClientConnection, message: dict[str, Any]) -> None:
        await socket.send(json.dumps(message))


def _at(other: str, url: str) -> str:
    """`url`, asked of the worker that has the page `other`."""
    return urlsplit(url)._replace(scheme=urlsplit(other).scheme, netloc=urlsplit(other).netloc).geturl()
