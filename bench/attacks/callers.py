"""`python -m bench.attacks.callers TARGET FOLDER`: the honest clients beside the attacks.

They are a call, and every 2 s a newcomer and a probe. It runs until SIGTERM. Its results in FOLDER: `call.json` is the
call's report. Each line of `newcomers.jsonl` is the monotonic time at which a newcomer called, the seconds until its
session was ready, and those until it was resumed over another connection; of `probes.jsonl` the time of a request for
`/readyz`, and the seconds until its 200; `null` is for what did not come in time.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from bench.attacks.target import Target
from voice_client import AudioOptions, ClientError, ConnectionOptions, Security, UplinkOptions, VoiceClient
from voice_client.errors import CallLost

PERIOD_S = 2.0
TIMEOUT_S = 5.0
TALK_FRAMES, PAUSE_FRAMES = 100, 50


class Talk:
    """Two seconds of noise as loud as speech, a second of silence, and so on until `stop` is set."""

    is_live = False

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield 20 ms of PCM16 at 16 kHz at a time."""
        generator = np.random.default_rng(1)
        while not self._stop.is_set():
            for _ in range(TALK_FRAMES):
                yield (generator.normal(0, 2_000, 320)).astype("<i2").tobytes()
            for _ in range(PAUSE_FRAMES):
                yield bytes(640)


async def hold_call(target: Target, stop: asyncio.Event, folder: Path) -> None:
    """One call from 127.0.0.2, over hybrid uplink, until `stop`."""
    async with VoiceClient(
        target.url,
        security=Security(ca_file=target.ca_file),
        audio=AudioOptions(has_playback=False),
        connection=ConnectionOptions(local_address="127.0.0.2"),
        uplink=UplinkOptions(mode="hybrid"),
    ) as call:
        (folder / "call.started").touch()
        fault = None
        try:
            await call.speak(Talk(stop))
            await call.finish()
        except ClientError as error:
            fault = str(error)
        report = call.report()
    outcome = {
        "fault": fault,
        "frames_sent": report.frames_sent,
        "frames_acked": report.frames_acked,
        "resumes": len(report.resumes),
        "round_trips_ms": report.rtts_ms,
        "duration_s": report.duration_s,
    }
    (folder / "call.json").write_text(json.dumps(outcome))


async def every_other_second(
    stop: asyncio.Event, path: Path, attempt: Callable[[], Awaitable[dict[str, float | None]]]
) -> None:
    """Write down what each attempt gave, with its time, until `stop`."""
    with path.open("w") as file:
        while not stop.is_set():
            at = time.monotonic()
            file.write(json.dumps({"at": at, **await attempt()}) + "\n")
            file.flush()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), max(0.1, PERIOD_S - (time.monotonic() - at)))


async def newcomer(target: Target) -> dict[str, float | None]:
    """Call from another address, lose the connection, resume the session over the next one, and hang up."""
    began = time.monotonic()
    taken: dict[str, float | None] = {"ready_s": None, "resumed_s": None}
    address = f"127.0.3.{random.randrange(1, 250)}"
    try:
        async with VoiceClient(
            target.url,
            security=Security(ca_file=target.ca_file),
            connection=ConnectionOptions(local_address=address, connect_timeout_s=TIMEOUT_S),
        ) as client:
            lost_at = time.monotonic()
            taken["ready_s"] = lost_at - began
            call = client._call
            link = call.link
            if link is None:
                return taken
            link.leave()
            call.link_lost(link, CallLost("the benchmark dropped the connection"))
            while time.monotonic() < lost_at + TIMEOUT_S:
                if client.resumes:
                    taken["resumed_s"] = time.monotonic() - lost_at
                    break
                await asyncio.sleep(0.01)
    except ClientError as error:
        print(f"newcomer: {error}", file=sys.stderr)
    return taken


async def probe(target: Target) -> dict[str, float | None]:
    """Ask the admin port whether the worker is ready, as a load balancer or Kubernetes does."""
    began = time.monotonic()
    ready_s: float | None = None
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(*target.admin, local_addr=("127.0.3.251", 0))
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            if (await reader.read()).startswith(b"HTTP/1.1 200 "):
                ready_s = time.monotonic() - began
            writer.close()
    return {"ready_s": ready_s}


async def main() -> None:
    target, folder = Target.of_json(sys.argv[1]), Path(sys.argv[2])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await asyncio.gather(
        hold_call(target, stop, folder),
        every_other_second(stop, folder / "newcomers.jsonl", partial(newcomer, target)),
        every_other_second(stop, folder / "probes.jsonl", partial(probe, target)),
    )


if __name__ == "__main__":
    asyncio.run(main())
