"""Calls a server as Twilio Media Streams does: 8 kHz mu-law in JSON over a WebSocket, with marks and clear.

The URL is that of the stream (`wss:`, `ws:`), or of a page with TwiML (`https:`, `http:`), which is asked again, as its
`action`, when a stream breaks. The endpoint's token is the account's auth token, which signs what is asked.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import urllib.error
import urllib.request
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode, urljoin
from xml.etree import ElementTree

from voice_eval.drivers.base import Dialling, Driver, Endpoint, Line
from voice_eval.drivers.socket_line import SocketLine
from voice_eval.errors import CallFailed
from voice_eval.network.link import TcpLink
from voicelink.audio.codecs.g711 import pcmu_decode, pcmu_encode
from voicelink.audio.resample import Resampler

_HZ: Final = 8_000
_TIMEOUT_S: Final = 10.0
_ACCOUNT: Final = "AC" + "0" * 32


class TwilioDriver(Driver):
    """Options are the stream's custom parameters."""

    name = "twilio"
    link = TcpLink

    def line(self, dialling: Dialling) -> Line:
        return TwilioLine(dialling, self.endpoint)


class TwilioLine(SocketLine):
    """One telephone call, over one stream after the other."""

    hears_at_hz = _HZ

    def __init__(self, dialling: Dialling, endpoint: Endpoint) -> None:
        super().__init__(dialling, endpoint)
        self._call_sid = f"CA{uuid.uuid4().hex}"
        self._page = endpoint.url
        self._parameters: dict[str, str] = dict(endpoint.options)
        self._stream_sid = ""
        self._sequence = self._frames = 0
        self._marks: deque[tuple[int, str]] = deque()
        self._queued = self._played = 0
        self._rate = Resampler(16_000, _HZ)
        self._rest = b""

    async def where(self) -> str | None:
        if not self._page.startswith("http"):
            return self._page
        document = await asyncio.to_thread(self._ask, "in-progress" if self.held.is_open else "ringing")
        try:
            # the server under test answers, and expat expands nothing from outside
            connection = ElementTree.fromstring(document).find("./Connect")  # noqa: S314
        except ElementTree.ParseError as error:
            raise CallFailed(f"{self._page}: no TwiML: {error}") from None
        stream = None if connection is None else connection.find("./Stream")
        if connection is None or stream is None:
            return None
        named = {each.get("name", ""): each.get("value", "") for each in stream.iter("Parameter")}
        self._parameters = named | dict(self.endpoint.options)
        self._page = urljoin(self._page, connection.get("action") or self._page)
        return stream.get("url")

    def headers(self, url: str) -> dict[str, str]:
        return self._signed(url, {})

    def connected(self) -> None:
        self._stream_sid = f"MZ{self.held.count:032x}"
        self._sequence = self._frames = 0
        self._marks.clear()
        self.loudspeaker.clear()
        self._queued = self._played = 0
        self.send_message(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        facts = {
            "accountSid": _ACCOUNT,
            "streamSid": self._stream_sid,
            "callSid": self._call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": _HZ, "channels": 1},
            "customParameters": self._parameters,
        }
        self._numbered("start", {"start": facts})

    def send(self, pcm: bytes) -> None:
        self._rest += pcmu_encode(self._rate.push(pcm))
        while len(self._rest) >= 160:
            payload, self._rest = self._rest[:160], self._rest[160:]
            self._frames += 1
            facts = {"track": "inbound", "chunk": str(self._frames), "timestamp": str((self._frames - 1) * 20)}
            self._numbered("media", {"media": facts | {"payload": base64.b64encode(payload).decode()}})

    def play(self, seconds: float) -> bytes:
        pcm = self.loudspeaker.pull(seconds)
        self._played += len(pcm)
        while self._marks and self._marks[0][0] <= self._played:
            self._mark_reached(self._marks.popleft()[1])
        return pcm

    def press(self, digit: str) -> None:
        self._numbered("dtmf", {"dtmf": {"track": "inbound_track", "digit": digit}})

    def received(self, message: str | bytes) -> None:
        document = json.loads(message)
        match document["event"]:
            case "media":
                pcm = pcmu_decode(base64.b64decode(document["media"]["payload"], validate=True))
                self._queued += len(pcm)
                self.loudspeaker.push(pcm)
            case "mark":
                self._marks.append((self._queued, document["mark"]["name"]))
            case "clear":
                self.loudspeaker.clear()
                self._queued = self._played
                while self._marks:
                    self._mark_reached(self._marks.popleft()[1])
            case event:
                raise ValueError(f"Twilio knows no event {event!r}")

    def say_goodbye(self) -> None:
        self._numbered("stop", {"stop": {"accountSid": _ACCOUNT, "callSid": self._call_sid}})

    def _mark_reached(self, name: str) -> None:
        self._numbered("mark", {"mark": {"name": name}})

    def _numbered(self, event: str, facts: dict[str, Any]) -> None:
        self._sequence += 1
        head = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self._stream_sid}
        self.send_message(json.dumps(head | facts))

    def _ask(self, status: str) -> bytes:
        form = {"AccountSid": _ACCOUNT, "CallSid": self._call_sid, "CallStatus": status}
        headers = self._signed(self._page, form) | {"I-Twilio-Idempotency-Token": str(uuid.uuid4())}
        request = urllib.request.Request(self._page, urlencode(form).encode(), headers)  # noqa: S310 - http only
        tls = ssl.create_default_context(cafile=self.endpoint.ca_file) if self._page.startswith("https") else None
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=tls) as answer:  # noqa: S310
                document: bytes = answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            raise CallFailed(f"{self._page}: {error}") from None
        except OSError as error:
            raise OSError(f"{self._page}: {error}") from None
        return document

    def _signed(self, url: str, form: Mapping[str, str]) -> dict[str, str]:
        """Twilio's request signature."""
        if self.endpoint.token is None:
            return {}
        signed = url + "".join(key + form[key] for key in sorted(form))
        digest = hmac.new(self.endpoint.token.encode(), signed.encode(), hashlib.sha1).digest()
        return {"X-Twilio-Signature": base64.b64encode(digest).decode()}
