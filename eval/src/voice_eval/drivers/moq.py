"""Calls a Pipecat pipeline over its MoQ transport (Media over QUIC), with moq-rs; audio is Opus both ways.

The caller publishes a broadcast and subscribes to that of the pipeline, through a relay or at a pipeline that serves by
itself. As Pipecat's own client does, it buffers what comes ahead of time and drops that when the pipeline hears the
user; RTVI messages go over a track of JSON records, which a subscriber reads from the first one.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import moq

from voice_eval.call.record import CALLER_HZ, FRAME_S
from voice_eval.drivers.base import Dialling, Driver, Endpoint, Line
from voice_eval.drivers.held_connection import HeldConnection
from voice_eval.drivers.rtvi import Rtvi
from voice_eval.errors import EvalError
from voice_eval.network.link import UdpLink

_OPEN_TIMEOUT_S: Final = 15.0
_SILENT_S: Final = 6.0
"""QUIC acknowledges the caller's audio all the time: so long without a byte means that the server is gone."""
_POLL_S: Final = 0.25
_REDIAL_S: Final = 0.25
_GIVE_UP_S: Final = 30.0
_GOODBYE_S: Final = 0.25
"""So long a goodbye has to reach the wire, as in Pipecat's transport."""
_MOST_LATE_US: Final = 30_000_000
"""The buffer of Pipecat's client: the pipeline sends up to 25 s ahead."""
_FRAME_US: Final = round(FRAME_S * 1_000_000)
_AUDIO_TRACK, _MESSAGES_TRACK = "audio", "transcript.json.z"
_SEQUENCE, _EPOCH = "seq", "epoch"
_OPTIONS: Final = ("namespace", "client", "bot")
_TRANSPORT_LABEL: Final = "moq-transport"
_FAULTS: Final = (OSError, TimeoutError, ValueError, KeyError, moq.Error)


class MoqDriver(Driver):
    """The URL is `https://host:port/moq` of a relay or a serving pipeline, or `http://host:port/start` of a runner.

    A runner is asked with each call and names the relay, as Pipecat's own does; the call's link leads to that. Options:
    `namespace`, `client` and `bot`, the names of the broadcasts, by default those of Pipecat.
    """

    name = "moq"
    link = UdpLink

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        if unknown := set(endpoint.options) - set(_OPTIONS):
            raise EvalError(f"option {min(unknown)}: the driver moq knows {', '.join(_OPTIONS)}")

    def line(self, dialling: Dialling) -> Line:
        return MoqLine(dialling, self.endpoint)


@dataclass(frozen=True, slots=True)
class MoqSession:
    """Where one call takes place: the relay, and which broadcasts are the caller's and the pipeline's."""

    url: str
    namespace: str = "pipecat"
    client: str = "request"
    bot: str = "response"
    messages: str = _MESSAGES_TRACK
    """The name of the tracks with RTVI messages."""
    fingerprint: str | None = None
    """SHA-256 of the certificate, in hex, where that is self-signed."""

    @classmethod
    def of_runner(cls, document: Mapping[str, Any]) -> MoqSession:
        """Return what a runner answers to `POST /start`; raises `KeyError` and `ValueError`."""
        config = document["moq"]
        hashed = config.get("certHash")
        return cls(
            url=config["relayUrl"],
            namespace=config["namespace"],
            client=config["clientId"],
            bot=config["botId"],
            messages=config.get("transcriptTrack", _MESSAGES_TRACK),
            fingerprint=None if hashed is None else base64.b64decode(hashed).hex(),
        )


class Replays:
    """Tells records that were read before, in a subscription that was lost, from new ones. Sans-IO."""

    def __init__(self) -> None:
        self._epoch: Any = None
        self._last = -1

    def is_new(self, record: Any) -> bool:
        """Whether this record is read for the first time; one without a number always is."""
        number = record.get(_SEQUENCE) if isinstance(record, dict) else None
        if not isinstance(number, int):
            return True
        if record.get(_EPOCH) != self._epoch:
            self._epoch, self._last = record.get(_EPOCH), -1
        is_new = number > self._last
        self._last = max(self._last, number)
        return is_new


class MoqLine(Line):
    """One call, which asks for another session when its own ends or falls silent."""

    def __init__(self, dialling: Dialling, endpoint: Endpoint) -> None:
        super().__init__(dialling)
        self._endpoint = endpoint
        self._rtvi = Rtvi(dialling, self._send_json)
        self._published: _Published | None = None
        self._replays = Replays()
        self._held = HeldConnection(self)

    async def open(self) -> None:
        await self._held.open(self._dial())

    def send(self, pcm: bytes) -> None:
        if self._published is not None:
            self._published.write(pcm)

    def type(self, text: str) -> None:
        self._rtvi.type(text)

    async def finish(self) -> None:
        if self._published is not None:
            self._published.append({"label": _TRANSPORT_LABEL, "type": "session-ending"})
            await asyncio.sleep(_GOODBYE_S)

    async def close(self) -> None:
        await self._held.close()

    async def _dial(self) -> str:
        """Hold one session after the other; return why no more."""
        loop = asyncio.get_running_loop()
        lost_at = loop.time()
        while True:
            why = "the session ended"
            before = self._held.count
            try:
                await self._hold(await self._session())
            except _FAULTS as error:
                why = str(error) or type(error).__name__
            if self._held.count > before:
                lost_at = loop.time()
            if not self._held.is_open or loop.time() - lost_at > _GIVE_UP_S:
                return f"{self._endpoint.url}: {why}"
            await asyncio.sleep(_REDIAL_S)

    async def _session(self) -> MoqSession:
        """Return where to call, and lead the link there."""
        if self._endpoint.url.startswith("https:"):
            return MoqSession(self._endpoint.url, **self._endpoint.options)
        session = MoqSession.of_runner(await asyncio.to_thread(self._start))
        parts = urlsplit(session.url)
        if not parts.hostname:
            raise ValueError(f"the runner names no relay: {session.url!r}")
        link = self.dialling.link
        link.upstream = (parts.hostname, parts.port or 443)
        link.new_address()
        return session

    def _start(self) -> Any:
        body = json.dumps({"transport": "moq"}).encode()
        request = urllib.request.Request(self._endpoint.url, body, {"Content-Type": "application/json"})  # noqa: S310 - http only
        try:
            with urllib.request.urlopen(request, timeout=_OPEN_TIMEOUT_S) as answer:  # noqa: S310
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            error.close()
            raise ValueError(str(error)) from None

    async def _hold(self, session: MoqSession) -> None:
        """Hold one session to its end."""
        published, subscribed = moq.OriginProducer(), moq.OriginProducer()
        mine = _Published(published, session)
        async with asyncio.timeout(_OPEN_TIMEOUT_S) as opening, self._client(session, published, subscribed) as client:
            path = f"{session.namespace}/{session.bot}"
            pipeline = await client.announced_broadcast(path).available()
            catalog = await pipeline.catalog()
            name, audio = next(iter(catalog.audio.items()), (None, None))
            if name is None:
                raise ValueError(f"the broadcast {path!r} has no audio")
            wanted = moq.AudioDecoderOutput(
                format=moq.AudioSampleFormat.S16, sample_rate=self.hears_at_hz, channels=1, max_age_us=_MOST_LATE_US
            )
            sound = await pipeline.decode_audio(name, audio, wanted)
            messages = await pipeline.subscribe_json_stream(session.messages, compression=True)
            opening.reschedule(None)
            self._published = mine
            self._rtvi.begin()
            self._held.connected()
            tasks = [
                asyncio.create_task(each)
                for each in (self._listen(sound), self._follow(messages), _until_silent(client.session))
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                self._published = None
                for consumer in (sound, messages):
                    consumer.cancel()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                mine.finish()

    def _client(self, session: MoqSession, published: Any, subscribed: Any) -> Any:
        host, port = self.dialling.address
        # a client that reconnects by itself would not ask the runner again; a WebSocket would go around the link
        options: dict[str, Any] = {"reconnect": False, "websocket_enabled": False}
        if fingerprint := session.fingerprint or self._endpoint.certificate_hash:
            options["tls_fingerprints"] = [fingerprint]
        elif self._endpoint.ca_file is not None:
            options["tls_roots"] = [str(self._endpoint.ca_file)]
        parts = urlsplit(session.url)
        query = f"?{parts.query}" if parts.query else ""
        url = f"https://{host}:{port}{parts.path}{query}"
        return moq.Client(url, publish=published, subscribe=subscribed, **options)

    async def _listen(self, sound: Any) -> None:
        async for frame in sound:
            self.loudspeaker.push(frame.data)

    async def _follow(self, messages: Any) -> None:
        async for message in messages:
            if not self._replays.is_new(message):
                continue
            if isinstance(message, dict) and message.get("type") == "user-started-speaking":
                self.loudspeaker.clear()
            self._rtvi.received(message)

    def _send_json(self, message: dict[str, Any]) -> None:
        if self._published is not None:
            self._published.append(message)


class _Published:
    """The caller's broadcast: a track of audio and one of messages."""

    def __init__(self, origin: Any, session: MoqSession) -> None:
        self._broadcast = origin.create_broadcast(f"{session.namespace}/{session.client}")
        self._messages = self._broadcast.publish_json_stream(session.messages, compression=True)
        self._audio = self._broadcast.encode_audio(
            _AUDIO_TRACK,
            moq.AudioEncoderInput(format=moq.AudioSampleFormat.S16, sample_rate=CALLER_HZ, channels=1),
            moq.AudioEncoderOutput(
                codec=moq.AudioCodec.opus(), sample_rate=None, channels=None, bitrate=None, frame_duration_us=_FRAME_US
            ),
        )
        self._sent_us = 0
        self._epoch = secrets.token_hex(8)
        self._numbered = 0
        self._broadcast.announce()

    def write(self, pcm: bytes) -> None:
        """Publish 20 ms."""
        self._audio.write(moq.AudioFrame(timestamp_us=self._sent_us, data=pcm))
        self._sent_us += _FRAME_US

    def append(self, message: Mapping[str, Any]) -> None:
        """Publish a message."""
        self._messages.append({**message, _SEQUENCE: self._numbered, _EPOCH: self._epoch})
        self._numbered += 1

    def finish(self) -> None:
        """End the tracks and the broadcast."""
        for producer in (self._audio, self._messages, self._broadcast):
            with suppress(moq.Error):
                producer.finish()


async def _until_silent(session: Any) -> None:
    """Return when nothing has come for a while."""
    loop = asyncio.get_running_loop()
    received, changed_at = -1, loop.time()
    while loop.time() - changed_at < _SILENT_S:
        if (now := session.stats().bytes_received or 0) != received:
            received, changed_at = now, loop.time()
        await asyncio.sleep(_POLL_S)
