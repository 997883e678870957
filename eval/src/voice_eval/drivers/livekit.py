"""Calls an agent in a LiveKit room, with LiveKit's own SDK for Python.

Each call is a room of its own, which the server gives an agent. Transcripts are the text streams `lk.transcription`,
the caller's tools are RPC methods, and the state is JSON that the agent sends as text on the topic `state`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import suppress
from typing import Any, Final, cast

from livekit import rtc
from livekit.api import AccessToken, VideoGrants

from voice_eval.call.answers import AnswersOfTrack
from voice_eval.call.record import CALLER_HZ, FRAME_S, ToolCall, TranscriptLine
from voice_eval.drivers.base import Dialling, Driver, Endpoint, Line
from voice_eval.drivers.held_connection import HeldConnection
from voice_eval.drivers.livekit_signalling import Signalling
from voice_eval.errors import EvalError
from voice_eval.network.link import TcpUdpLink
from voice_eval.scenario.model import OfferedTool

_OPEN_TIMEOUT_S: Final = 30.0
_AGENT_TIMEOUT_S: Final = 4.0
"""So long an agent has to come into a room: one that was made while no agent was registered gets none later."""
_SILENT_S: Final = 6.0
"""An agent's track has packets all the time, silence too: so long without one means that the agent is gone.

LiveKit's server says so, too, some 20 s after the end of an agent that could not say goodbye.
"""
_POLL_S: Final = 0.5
_REDIAL_S: Final = 0.25
_GIVE_UP_S: Final = 30.0
_LAST_WORDS_S: Final = 1.0
_FRAME_SAMPLES: Final = round(CALLER_HZ * FRAME_S)
_IDENTITY: Final = "voice-eval"
_TRANSCRIPTION, _CHAT, _STATE = "lk.transcription", "lk.chat", "state"
_FINAL: Final = "lk.transcription_final"
_FAULTS: Final = (OSError, TimeoutError, rtc.ConnectError)


class LiveKitDriver(Driver):
    """The URL is that of the server, `ws://` or `wss://`; option `key` and the token are its API's key and secret."""

    name = "livekit"
    link = TcpUdpLink

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        if unknown := set(endpoint.options) - {"key"}:
            raise EvalError(f"option {min(unknown)}: the driver livekit knows key")
        if not endpoint.options.get("key") or not endpoint.token:
            raise EvalError("--driver livekit makes its tokens: give --option key=... and --token-file with the secret")

    def line(self, dialling: Dialling) -> Line:
        return LiveKitLine(dialling, self.endpoint)


class LiveKitLine(Line):
    """One call, which goes to another room when its agent leaves or the room is lost."""

    def __init__(self, dialling: Dialling, endpoint: Endpoint) -> None:
        super().__init__(dialling)
        self._endpoint = endpoint
        self._microphone: asyncio.Queue[bytes] = asyncio.Queue()
        self._room: rtc.Room | None = None
        self._agent: str | None = None
        self._held = HeldConnection(self, "room")
        self._tasks: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        self.record.tools = []
        await self._held.open(self._dial())

    def send(self, pcm: bytes) -> None:
        if self._agent is not None:
            self._microphone.put_nowait(pcm)

    def press(self, digit: str) -> None:
        if self._room is not None:
            code = "0123456789*#".index(digit)
            self._spawn(self._room.local_participant.publish_dtmf(code=code, digit=digit))

    def type(self, text: str) -> None:
        if self._room is not None:
            self._spawn(self._room.local_participant.send_text(text, topic=_CHAT))

    async def finish(self) -> None:
        """Transcripts follow the sound: wait for the last of them."""
        readers = {task for task in self._tasks if task.get_name() == _TRANSCRIPTION}
        if readers:
            await asyncio.wait(readers, timeout=_LAST_WORDS_S)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(self._held.close(), *self._tasks, return_exceptions=True)

    async def _dial(self) -> str:
        """Hold one room after the other; return why no more."""
        loop = asyncio.get_running_loop()
        lost_at = loop.time()
        link = cast("TcpUdpLink", self.dialling.link)  # as the driver says
        tls = None
        if self._endpoint.url.startswith("wss:"):
            tls = ssl.create_default_context(cafile=self._endpoint.ca_file)
        async with Signalling(self._endpoint.url, link, tls) as signalling:
            while True:
                before, why = self._held.count, "the agent left"
                try:
                    await self._hold(signalling.url)
                except _FAULTS as error:
                    why = str(error) or "no agent came into the room"
                if self._held.count > before:
                    lost_at = loop.time()
                patience_s = _GIVE_UP_S if self._held.is_open else _OPEN_TIMEOUT_S
                if loop.time() - lost_at > patience_s:
                    return f"{self._endpoint.url}: {why}"
                await asyncio.sleep(_REDIAL_S)

    async def _hold(self, url: str) -> None:
        """Hold one room until it is lost, or its agent leaves."""
        loop = asyncio.get_running_loop()
        room = rtc.Room()
        arrived: asyncio.Future[rtc.RemoteAudioTrack] = loop.create_future()
        there, gone = asyncio.Event(), asyncio.Event()
        self._watch(room, arrived, there, gone)
        source = rtc.AudioSource(CALLER_HZ, 1)
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT_S):
                await room.connect(url, self._token(), rtc.RoomOptions())
                self._offer_tools(room)
                track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
                await room.local_participant.publish_track(
                    track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
                )
                async with asyncio.timeout(_AGENT_TIMEOUT_S):
                    await there.wait()
                sound = await arrived
            self._room = room
            self._microphone = asyncio.Queue()
            self._held.connected()
            ends = [asyncio.create_task(gone.wait()), asyncio.create_task(_until_silent(sound))]
            tasks = [asyncio.create_task(self._listen(sound)), asyncio.create_task(self._speak(source)), *ends]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._room = self._agent = None
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            arrived.cancel()
            await room.disconnect()
            await source.aclose()

    def _token(self) -> str:
        key, secret = self._endpoint.options["key"], self._endpoint.token
        room = f"{self.dialling.call_id}-{self._held.count}-{self.clock():.3f}"
        token = AccessToken(key, secret).with_identity(_IDENTITY)
        return str(token.with_grants(VideoGrants(room_join=True, room=room)).to_jwt())

    def _watch(
        self,
        room: rtc.Room,
        arrived: asyncio.Future[rtc.RemoteAudioTrack],
        there: asyncio.Event,
        gone: asyncio.Event,
    ) -> None:
        @room.on("participant_connected")
        def on_join(_participant: rtc.RemoteParticipant) -> None:
            there.set()

        @room.on("track_subscribed")
        def on_track(track: rtc.Track, _publication: Any, participant: rtc.RemoteParticipant) -> None:
            if isinstance(track, rtc.RemoteAudioTrack) and not arrived.done():
                self._agent = participant.identity
                there.set()
                arrived.set_result(track)

        @room.on("participant_disconnected")
        def on_leave(participant: rtc.RemoteParticipant) -> None:
            if participant.identity == self._agent:
                gone.set()

        @room.on("disconnected")
        def on_disconnected(_reason: Any) -> None:
            gone.set()

        room.register_text_stream_handler(_TRANSCRIPTION, self._on_transcription)
        room.register_text_stream_handler(_STATE, self._on_state)

    async def _listen(self, track: rtc.RemoteAudioTrack) -> None:
        answers = AnswersOfTrack(self.hears_at_hz)
        stream = rtc.AudioStream.from_track(track=track, sample_rate=self.hears_at_hz, num_channels=1)
        try:
            async for event in stream:
                pcm = bytes(event.frame.data)
                if answers.includes(pcm):
                    self.loudspeaker.push(pcm)
        finally:
            await stream.aclose()

    async def _speak(self, source: rtc.AudioSource) -> None:
        while True:
            pcm = await self._microphone.get()
            await source.capture_frame(rtc.AudioFrame(pcm, CALLER_HZ, 1, _FRAME_SAMPLES))

    def _on_transcription(self, reader: rtc.TextStreamReader, speaker: str) -> None:
        self._spawn(self._transcribed(reader, speaker), _TRANSCRIPTION)

    async def _transcribed(self, reader: rtc.TextStreamReader, speaker: str) -> None:
        is_user = speaker == _IDENTITY
        lines = self.record.lines = self.record.lines or []
        text = ""
        # an answer's text comes as it is spoken: what was cut off is a line, too
        with suppress(rtc.StreamError):
            async for piece in reader:
                text += piece
        # what the user says is sent again and again until it is final
        is_final = not is_user or (reader.info.attributes or {}).get(_FINAL) == "true"
        if is_final and text.strip():
            lines.append(TranscriptLine("user" if is_user else "agent", text.strip()))

    def _on_state(self, reader: rtc.TextStreamReader, _sender: str) -> None:
        self._spawn(self._stated(reader))

    async def _stated(self, reader: rtc.TextStreamReader) -> None:
        with suppress(ValueError, rtc.StreamError):
            self.record.state = json.loads(await reader.read_all())

    def _offer_tools(self, room: rtc.Room) -> None:
        for tool in self.dialling.scenario.tools:
            room.local_participant.register_rpc_method(tool.name, self._handler(tool))

    def _handler(self, tool: OfferedTool) -> Any:
        async def called(data: rtc.RpcInvocationData) -> str:
            arguments = {}
            with suppress(ValueError):
                arguments = json.loads(data.payload)
            calls = self.record.tools = self.record.tools or []
            calls.append(ToolCall(self.clock(), data.request_id, tool.name, arguments))
            if tool.error is not None:
                raise rtc.RpcError(rtc.RpcError.ErrorCode.APPLICATION_ERROR, tool.error)
            return json.dumps(tool.result)

        return called

    def _spawn(self, work: Any, name: str | None = None) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _until_silent(track: rtc.RemoteAudioTrack) -> None:
    """Return when no packet has come for a while."""
    loop = asyncio.get_running_loop()
    received, changed_at = -1, loop.time()
    while loop.time() - changed_at < _SILENT_S:
        stats = [each.inbound_rtp.received for each in await track.get_stats() if each.HasField("inbound_rtp")]
        if (now := sum(each.packets_received for each in stats)) != received:
            received, changed_at = now, loop.time()
        await asyncio.sleep(_POLL_S)
