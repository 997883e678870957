"""Calls to Pipecat's MoQ transport (Media over QUIC), which serves by itself: there is no relay and no signalling.

`serve ADDRESS PORT CERTIFICATE KEY COUNT` waits for so many callers on ports from PORT on, as a transport that serves
takes one caller; `call ADDRESS PORT CA SCRIPT COUNT SECONDS` calls one after the other: the script "setup-quic" by QUIC
without HTTP/3, "setup-webtransport" as browsers do. A caller publishes its audio before it connects, and subscribes to
the agent's at the same time.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import suppress
from typing import Any, Final

from loguru import logger

from bench.peers.frameworks.sound import FRAME_S, is_sound, tone
from bench.peers.timing import CallTimes, print_calls, say, stdin_ends
from bench.pipelines.callers import INPUT_HZ, decoded_audio, moq_session, publish_audio

_SCHEMES: Final = {"setup-quic": "moqt", "setup-webtransport": "https"}
_CALL_S: Final = 20.0
_BETWEEN_CALLS_S: Final = 0.2
_LONGEST_WAIT_S: Final = 600.0


async def _serve(address: str, port: str, certificate: str, key: str, count: str) -> None:
    logger.configure(handlers=[{"sink": sys.stderr, "level": "ERROR"}])  # Pipecat talks while it is imported
    from pipecat.transports.moq.transport import MOQParams, MOQTransport

    from bench.peers.frameworks.echo import LOW_DELAY, RATE_HZ, Echoes

    echoes = Echoes()
    for number in range(int(count)):
        params = MOQParams(
            serve=True,
            bind=f"{address}:{int(port) + number}",
            serve_tls_cert=certificate,
            serve_tls_key=key,
            connection_timeout=_LONGEST_WAIT_S,
            audio_in_sample_rate=RATE_HZ,
            audio_out_sample_rate=RATE_HZ,
            **LOW_DELAY,
        )
        transport, is_up = MOQTransport(params=params), asyncio.Event()

        async def on_connected(_transport: Any, is_up: asyncio.Event = is_up) -> None:
            is_up.set()

        transport.add_event_handler("on_connected", on_connected)
        echoes.start(transport)
        await is_up.wait()
    say("ready")
    await stdin_ends()
    say(json.dumps([each for each in echoes.arrivals if each]))
    os._exit(0)


async def _speak(producer: Any, times: CallTimes) -> None:
    """Give a frame each 20 ms, as a microphone does."""
    import moq

    frame, start = tone(INPUT_HZ), time.monotonic()
    while True:
        number = len(times.sent)
        times.sent.append((number, time.monotonic()))
        producer.write(moq.AudioFrame(timestamp_us=round(number * FRAME_S * 1_000_000), data=frame))
        await asyncio.sleep(start + (number + 1) * FRAME_S - time.monotonic())


async def _set_up(url: str, authority: str) -> CallTimes:
    import moq

    published, subscribed = moq.OriginProducer(), moq.OriginProducer()
    producer = publish_audio(published)
    times = CallTimes()
    speaking = asyncio.create_task(_speak(producer, times))
    try:
        async with moq_session(url, published, subscribed, tls_roots=[authority]) as session:
            times.connected = time.monotonic()
            response = await session.announced_broadcast("pipecat/response").available()
            async for frame in await decoded_audio(response):
                if is_sound(frame.data):
                    times.back = time.monotonic()
                    break
    finally:
        speaking.cancel()
        with suppress(asyncio.CancelledError):
            await speaking
        producer.finish()
    return times


async def _call(address: str, port: str, authority: str, script: str, count: str, _seconds: str) -> None:
    calls = []
    for number in range(int(count)):
        async with asyncio.timeout(_CALL_S):
            calls.append(await _set_up(f"{_SCHEMES[script]}://{address}:{int(port) + number}/moq", authority))
        await asyncio.sleep(_BETWEEN_CALLS_S)
    print_calls(calls)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run((_serve if sys.argv[1] == "serve" else _call)(*sys.argv[2:]))
