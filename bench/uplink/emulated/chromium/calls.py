"""Calls of one Chromium to pion over emulated links, all of a seed at once and in real time."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.peers.ways import Program, build_pion, certificate
from bench.setup_time.browsers.callers import chromium, loaded
from bench.setup_time.browsers.serving import served
from bench.uplink.conditions import Condition
from bench.uplink.emulated.chromium.packets import Arrival, outcome_of
from bench.uplink.outcome import Outcome
from bench.uplink.spoken.recording import Passage, as_wav
from testbed.link import SERVER, EmulatedLink, LinkPath
from testbed.simnet.links import Profile
from voice_gateway.certificates.development import DevelopmentCertificate
from voicelink.audio.frames import FRAME_S

_SIGNALLING_PORT: Final = 7_300
_TAIL_S: Final = 4.0
_CONNECT_S: Final = 60.0
_PAGE: Final = Path(__file__).with_name("page.html")
_SCRIPT: Final = Path(__file__).with_name("page.js")


@dataclass(frozen=True, slots=True)
class Spoken:
    """When the recording began, monotonic, and the bytes sent on each path until it ended."""

    at: float
    byte_counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Round:
    """The calls of one seed, one over each condition's link to a port of its own."""

    conditions: Sequence[Condition]
    seed: int
    recording: list[Passage]
    seconds: float
    has_red: bool

    def paths(self) -> dict[int, LinkPath]:
        """By port."""
        return {
            _SIGNALLING_PORT + number: LinkPath(condition.profile, seed=self.seed)
            for number, condition in enumerate(self.conditions, 1)
        }


async def chromium_calls(
    conditions: Sequence[Condition], recordings: Sequence[list[Passage]], seconds: float, *, has_red: bool
) -> list[list[Outcome]]:
    """For each condition, the call of each recording; seeds count from 1 as the recordings do."""
    of_seeds = []
    for seed, passages in enumerate(recordings, 1):
        of_seeds.append(await _place(_Round(conditions, seed, passages, seconds, has_red)))
    return [list(outcomes) for outcomes in zip(*of_seeds, strict=True)]


async def _place(asked: _Round) -> list[Outcome]:
    paths = asked.paths()
    async with (
        certificate() as files,
        EmulatedLink(LinkPath(Profile()), by_port=paths) as link,
        _listening(link, files) as server,
    ):
        spoken = await _say(asked, link, paths, files)
        noted: dict[str, list[dict[str, Any]]] = json.loads(await server.end())
    return [
        outcome_of(map(Arrival.of, noted[str(port)]), spoken.at, round(asked.seconds / FRAME_S), byte_count)
        for port, byte_count in zip(paths, spoken.byte_counts, strict=True)
    ]


@asynccontextmanager
async def _listening(link: EmulatedLink, files: DevelopmentCertificate) -> AsyncIterator[Program]:
    command = [str(build_pion()), "listen", f"{SERVER}:{_SIGNALLING_PORT}", str(files.leaf), str(files.key)]
    server = await Program.start(link.server, command)
    try:
        await server.until("ready")
        yield server
    finally:
        await server.stop()


async def _say(
    asked: _Round, link: EmulatedLink, paths: Mapping[int, LinkPath], files: DevelopmentCertificate
) -> Spoken:
    """Say the recording over all calls; raises `TimeoutError` where they do not connect."""
    has_red = json.dumps(asked.has_red)
    urls = [f"https://{SERVER}:{_SIGNALLING_PORT}/?port={port}&red={has_red}" for port in paths]
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "recording.wav"
        recording.write_bytes(as_wav(asked.recording))
        with served(link.caller, _PAGE, _SCRIPT, recording) as url:
            async with chromium(link.caller, files) as open_page, open_page(url) as evaluate:
                await loaded(evaluate)
                connecting = evaluate(f"connect({json.dumps(urls)}, {has_red}, {json.dumps(recording.name)})")
                await asyncio.wait_for(connecting, _CONNECT_S)
                clock = time.time() - time.monotonic()
                speaks_at = await evaluate("speak()") / 1000 - clock
                link.start_counting()
                for path, condition in zip(paths.values(), asked.conditions, strict=True):
                    for begin, length in condition.blackouts:
                        link.black_out(length, after_s=begin, path=path)
                await asyncio.sleep(speaks_at + asked.seconds - time.monotonic())
                byte_counts = tuple(path.byte_count["up"] for path in paths.values())
                await asyncio.sleep(_TAIL_S)
                for condition, account in zip(asked.conditions, await evaluate("finish()"), strict=True):
                    print(f"Chromium's own account, {condition.name}: {account}", flush=True)
    return Spoken(speaks_at, byte_counts)
