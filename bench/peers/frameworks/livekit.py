"""Calls through rooms of a LiveKit server, with LiveKit's own SDK for Python at both ends.

`serve ADDRESS PORT CERTIFICATE KEY COUNT` runs the server, and beside it so many rooms, each with a participant that is
there before its caller and echoes what it hears; media has the UDP port PORT. `call ADDRESS PORT CA SCRIPT COUNT
SECONDS` joins one room after the other, publishes a track and waits for its echo. The server has no TLS of its own, and
signalling goes without.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from livekit import rtc
from livekit.api import AccessToken, VideoGrants

from bench.peers.frameworks.sound import is_sound, tone
from bench.peers.timing import CallTimes, print_calls, say, stdin_ends
from voice_eval.targets.livekit import find_livekit, server_configuration
from voice_eval.targets.program import Program

_KEY: Final = "bench"
_SECRET: Final = "a-secret-of-this-benchmark-alone-0123456789"  # noqa: S105 - of a server in a network namespace
_LINK: Final = "net0"
"""The interface of `testbed.link`, to which media is confined."""
_HZ: Final = 48_000
_FRAME_MS: Final = 10
"""What a source takes that has no queue."""
_FRAME_S: Final = _FRAME_MS / 1000
_FRAME_SAMPLES: Final = round(_HZ * _FRAME_S)
_CALL_S: Final = 20.0
_BETWEEN_CALLS_S: Final = 0.2


def _token(identity: str, number: int) -> str:
    """A token for the room of that call."""
    token = AccessToken(_KEY, _SECRET).with_identity(identity)
    return str(token.with_grants(VideoGrants(room_join=True, room=f"bench-{number}")).to_jwt())


async def _publish(room: rtc.Room) -> rtc.AudioSource:
    """Publish a track; frames given to its source are sent at once, without a queue."""
    source = rtc.AudioSource(_HZ, 1, queue_size_ms=0)
    track = rtc.LocalAudioTrack.create_audio_track("sound", source)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    await room.local_participant.publish_track(track, options)
    return source


def _frames(track: rtc.Track) -> rtc.AudioStream:
    return rtc.AudioStream.from_track(track=track, sample_rate=_HZ, num_channels=1, frame_size_ms=_FRAME_MS)


class _Echo:
    """The participant that is in a room already."""

    def __init__(self) -> None:
        self.arrivals: list[tuple[int, float]] = []
        self._room = rtc.Room()
        self._following: asyncio.Task[None] | None = None

    async def join(self, url: str, token: str) -> None:
        await self._room.connect(url, token, rtc.RoomOptions())
        source = await _publish(self._room)

        @self._room.on("track_subscribed")
        def on_track(track: rtc.Track, _publication: Any, _participant: Any) -> None:
            self._following = asyncio.create_task(self._follow(track, source))

    async def leave(self) -> None:
        await self._room.disconnect()

    async def _follow(self, track: rtc.Track, source: rtc.AudioSource) -> None:
        async for event in _frames(track):
            if is_sound(event.frame.data):
                self.arrivals.append((len(self.arrivals), time.monotonic()))
            await source.capture_frame(event.frame)


async def _joined(url: str, number: int) -> _Echo:
    """The echo in the room of that call."""
    echo = _Echo()
    await echo.join(url, _token("echo", number))
    return echo


async def _serve(address: str, port: str, _certificate: str, _key: str, count: str) -> None:
    found = find_livekit()
    assert found is not None
    written = server_configuration(address, int(port), int(port), {_KEY: _SECRET}, _LINK)
    with tempfile.TemporaryDirectory(prefix="bench-livekit-") as folder:
        config = Path(folder) / "livekit.json"
        config.write_text(json.dumps(written))
        server = Program([found, "--config", str(config)], Path(folder) / "livekit.log", {})
        try:
            # the SDK gives no sound in a process in which a room could not be joined at first
            await server.start((address, int(port)))
            echoes = [await _joined(f"ws://{address}:{port}", number) for number in range(int(count))]
            say("ready")
            await stdin_ends()
            say(json.dumps([echo.arrivals for echo in echoes if echo.arrivals]))
            await asyncio.gather(*(echo.leave() for echo in echoes))
        finally:
            await server.kill()
    os._exit(0)


async def _speak(source: rtc.AudioSource, times: CallTimes) -> None:
    pcm, start = tone(_HZ, _FRAME_S), time.monotonic()
    while True:
        number = len(times.sent)
        times.sent.append((number, time.monotonic()))
        await source.capture_frame(rtc.AudioFrame(pcm, _HZ, 1, _FRAME_SAMPLES))
        await asyncio.sleep(start + (number + 1) * _FRAME_S - time.monotonic())


async def _set_up(url: str, token: str) -> CallTimes:
    room, times = rtc.Room(), CallTimes()
    arrived: asyncio.Future[rtc.Track] = asyncio.get_running_loop().create_future()

    @room.on("track_subscribed")
    def on_track(track: rtc.Track, _publication: Any, _participant: Any) -> None:
        arrived.set_result(track)

    await room.connect(url, token, rtc.RoomOptions())
    times.connected = time.monotonic()
    speaking = asyncio.create_task(_speak(await _publish(room), times))
    async for event in _frames(await arrived):
        if is_sound(event.frame.data):
            times.back = time.monotonic()
            break
    speaking.cancel()
    with suppress(asyncio.CancelledError):
        await speaking
    await room.disconnect()
    return times


async def _call(address: str, port: str, _authority: str, _script: str, count: str, _seconds: str) -> None:
    calls = []
    for number in range(int(count)):
        async with asyncio.timeout(_CALL_S):
            calls.append(await _set_up(f"ws://{address}:{port}", _token("caller", number)))
        await asyncio.sleep(_BETWEEN_CALLS_S)
    print_calls(calls)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run((_serve if sys.argv[1] == "serve" else _call)(*sys.argv[2:]))
