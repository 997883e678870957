"""The time that gateway, agent host and bridge add to a turn, beside the same agent called without them.

From the frame that ends a turn to the first sound of the answer, turns of both in alternation. The echo agent is called
in this process, in an agent host, through a worker on loopback, and through a worker with a host; through a worker the
sound counts when the SDK plays it. The bridge is OpenAI Realtime's, to a local vendor that is called directly beside
it; it holds an answer until the words of its turn are there, which the vendor sends 20 ms after the turn. `make
bench-turns`; its results are `turns.md` and `turns.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import os
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog

from bench.agents.processes import start_vendor
from bench.agents.ways import WAYS
from bench.figures import save, summary, table
from bench.hosts.cell import Cell
from bench.hosts.kills import recording
from bench.turns.talkers import AgentTalker, Talker, VendorTalker, gateway_talker, vendor_talker
from voice_gateway.agent.base import Agent, AgentEvent, ReplyAudio, SessionView, UserAudio
from voice_gateway.agents.bridges.openai_realtime import OpenAIRealtimeAgent, OpenAIRealtimeSettings
from voice_gateway.agents.echo import EchoAgent
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.worker.agent import HostedAgent, HostedAgentOptions
from voicelink.audio.resample import Resampler

HEADER: Final = (
    "turns through",
    "n",
    "without it ms: median",
    "p99",
    "with it ms: median",
    "p99",
    "added ms: median",
    "p99",
)
_SILENCE_MS: Final = 500
_UNCOUNTED: Final = 5
"""Turns before those that count: caches and connections are cold."""
_BRIDGED: Final = next(way for way in WAYS if way.vendor == "openai")


async def measure(count: int) -> dict[str, dict[str, Any]]:
    """Return the figures of each way."""
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="turns-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        async with AsyncExitStack() as stack:
            hosted = Cell(folder / "hosted", agent="echo", host_count=1)
            plain = Cell(folder / "plain", host_count=0, settings='[agent]\nname = "echo"\n')
            through_both = await stack.enter_async_context(gateway_talker(hosted))
            through_gateway = await stack.enter_async_context(gateway_talker(plain))
            address = [(HostAddress(hosted.socket(0)), HostCredentials())]
            in_host = await _agent_talker(stack, HostedAgent(HostedAgentOptions(address)))
            direct = await _agent_talker(stack, EchoAgent())
            frames = _echo_turn()
            for name, talker in (
                ("an agent host", in_host),
                ("a gateway", through_gateway),
                ("a gateway with an agent host", through_both),
            ):
                found[name] = await _beside(name, direct, talker, frames, count)
        async with AsyncExitStack() as stack:
            vendor = await start_vendor(_BRIDGED, folder, "vendor")
            stack.push_async_callback(vendor.kill)
            port = vendor.facts["port"]
            os.environ[_BRIDGED.key_variable] = _BRIDGED.key
            settings = OpenAIRealtimeSettings(base_url=f"ws://127.0.0.1:{port}/v1", silence_ms=_SILENCE_MS)
            bridged = await _agent_talker(stack, OpenAIRealtimeAgent(settings))
            beside = await stack.enter_async_context(vendor_talker(port, _BRIDGED.key, _SILENCE_MS))
            frames = await _vendor_turn(beside)
            found["a bridge"] = await _beside("a bridge", beside, bridged, frames, count)
    return found


async def _agent_talker(stack: AsyncExitStack, agent: Agent) -> AgentTalker:
    await agent.open()
    stack.push_async_callback(agent.close)
    talker = AgentTalker(agent)
    stack.callback(talker.close)
    return talker


async def _beside(name: str, direct: Talker, talker: Talker, frames: Sequence[bytes], count: int) -> dict[str, Any]:
    pairs = [(await direct.turn(frames), await talker.turn(frames)) for _ in range(count + _UNCOUNTED)][_UNCOUNTED:]
    figures = {
        "without": summary([without for without, _ in pairs]),
        "with": summary([through for _, through in pairs]),
        "added": summary([through - without for without, through in pairs]),
    }
    print(f"{name}: {figures}", flush=True)
    return figures


def _echo_turn() -> list[bytes]:
    """Return a tone and as much silence as lets the echo answer."""
    times = np.arange(320 * 30) / 16_000
    tone = (8_000 * np.sin(2 * math.pi * 300 * times)).astype("<i2").tobytes()
    frames = [tone[start : start + 640] for start in range(0, len(tone), 640)]
    answered: list[AgentEvent] = []
    conversation = EchoAgent().converse(answered.append, None)
    conversation.opened(SessionView("turn", 0, {}, tuple, lambda: True))
    for sequence, frame in enumerate(frames):
        conversation.hear(UserAudio(sequence, frame))
    while not any(isinstance(event, ReplyAudio) for event in answered):
        frames.append(bytes(640))
        conversation.hear(UserAudio(len(frames), frames[-1]))
    return frames


async def _vendor_turn(vendor: VendorTalker) -> list[bytes]:
    """Return a recording at 24 kHz and as much silence as lets the vendor answer."""
    pcm = Resampler(16_000, 24_000).push(recording("slt_total"))
    return await vendor.whole_turn([pcm[start : start + 960].ljust(960, b"\0") for start in range(0, len(pcm), 960)])


def main() -> None:
    """Measure, save and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="turns of each way, and as many beside it")
    parser.add_argument("--quick", action="store_true", help="10 turns")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    found = asyncio.run(measure(10 if asked.quick else asked.count))
    rows = [
        [
            name,
            each["added"]["n"],
            *(each[part][key] for part in ("without", "with", "added") for key in ("median", "p99")),
        ]
        for name, each in found.items()
    ]
    title = "From the frame that ends a turn to the first sound of the answer"
    save("turns", {"ways": found}, f"{title}\n\n{table(HEADER, rows)}")


if __name__ == "__main__":
    main()
