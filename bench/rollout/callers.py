"""`python -m bench.rollout.callers PLAN RESULT`: callers who talk until SIGTERM, then leave; the result is JSON.

PLAN is a JSON file with the fields of `Plan`. Each caller has an address and a token of its own, says a word every few
seconds, and keeps silent in between; the agent counts the words. The process prints "ready" once all of them talk.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from voice_client import (
    AudioOptions,
    ClientError,
    ConnectionOptions,
    Draining,
    Interrupted,
    Resumed,
    Security,
    VoiceClient,
)
from voice_client.audio.source import PcmSource

_RATE_HZ = 16_000
_DIAL_APART_S = 0.05
_LATE_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """Who calls: one caller for each token, from `ADDRESSES.1` on; `urls` in turn."""

    urls: list[str]
    ca_file: str
    tokens: list[str]
    network: str
    every_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call; `workers` in the order in which they had it.

    `causes` says of each move whether the worker asked for it (`drain`) or what the caller noticed.
    """

    session: str | None
    words_said: int
    words_lost: int
    frames_sent: int
    frames_lost: int
    gaps_ms: list[float]
    workers: list[str]
    causes: list[str]
    fault: str | None


async def hold(plan: Plan) -> dict[str, Any]:
    """Let everyone talk until SIGTERM; return the outcomes, and how late this process's event loop was."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    talking = asyncio.Event()
    late_ms: list[float] = []
    measuring = asyncio.create_task(_measure_lateness(late_ms))
    calls = []
    for number, token in enumerate(plan.tokens):
        calls.append(asyncio.create_task(_call(plan, number, token, stop)))
        await asyncio.sleep(_DIAL_APART_S)
    await asyncio.sleep(plan.every_s)
    talking.set()
    print("ready", flush=True)
    outcomes = await asyncio.gather(*calls)
    measuring.cancel()
    return {"outcomes": [asdict(each) for each in outcomes], "late_ms": [round(each, 1) for each in late_ms]}


async def _call(plan: Plan, number: int, token: str, stop: asyncio.Event) -> Outcome:
    words, fault = 0, None
    client = VoiceClient(
        plan.urls[number % len(plan.urls)],
        agent="echo",
        security=Security(ca_file=plan.ca_file, token=token),
        audio=AudioOptions("pcm16", has_playback=False),  # cheap: nothing is encoded or decoded
        connection=ConnectionOptions(local_address=f"{plan.network}.{1 + number}", heartbeat_s=0.5),
    )
    first, causes = "", list[str]()
    try:
        async with client:
            first = client.worker or ""
            following = asyncio.create_task(_follow(client, causes))
            await asyncio.sleep(random.uniform(0, plan.every_s))
            while not stop.is_set():
                await client.speak(PcmSource(_WORD))
                words += 1
                await _unless(stop, plan.every_s)
            await client.finish()
            await following
    except ClientError as error:
        fault = str(error)
    report = client.report() if first else None
    if report is None:
        return Outcome(None, 0, 0, 0, 0, [], [], [], fault)
    moves = [each for each in report.resumes if each.has_reconnected]
    return Outcome(
        session=report.session,
        words_said=words,
        words_lost=words - int(report.state.get("utterances", 0)),
        frames_sent=report.frames_sent,
        frames_lost=report.frames_sent - report.frames_acked,
        gaps_ms=[each.gap_ms for each in moves],
        workers=[first, *(each.worker for each in moves)],
        causes=causes,
        fault=fault or report.error,
    )


async def _follow(client: VoiceClient, causes: list[str]) -> None:
    """Note why each move of the call to another connection began."""
    is_asked, reason = False, ""
    async for event in client.events():
        match event:
            case Draining():
                is_asked = True
            case Interrupted(said):
                reason = said
            case Resumed(has_reconnected=True):
                causes.append("drain" if is_asked else reason)
                is_asked = False


async def _unless(stop: asyncio.Event, seconds: float) -> None:
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait([waiting], timeout=seconds)
    waiting.cancel()


async def _measure_lateness(late_ms: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LATE_EVERY_S
        await asyncio.sleep(_LATE_EVERY_S)
        late_ms.append((loop.time() - due) * 1000)


def _word() -> bytes:
    """A burst of noise, and a pause that ends the turn."""
    noise = np.random.default_rng(7).normal(0, 4000, int(0.4 * _RATE_HZ))
    return noise.clip(-32768, 32767).astype("<i2").tobytes() + bytes(int(0.8 * _RATE_HZ) * 2)


_WORD = _word()


def main() -> None:
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    Path(sys.argv[2]).write_text(json.dumps(asyncio.run(hold(plan))))


if __name__ == "__main__":
    main()
