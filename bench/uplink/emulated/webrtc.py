"""WebRTC calls by pion, with NACK for audio, over emulated links, all at once and in real time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from bench.peers.timing import CallTimes
from bench.peers.ways import Way, caller, certificate, servers, webrtc
from bench.uplink.conditions import ONE_WAY_S, Condition
from bench.uplink.outcome import Outcome
from testbed.link import EmulatedLink, LinkPath
from testbed.simnet.links import Profile

_FIRST_PORT: Final = 7_201
_TAIL_S: Final = 60.0


async def webrtc_calls(conditions: Sequence[Condition], seeds: Sequence[int], seconds: float) -> list[list[Outcome]]:
    """For each condition, the call of each seed."""
    asked = [(condition, seed) for condition in conditions for seed in seeds]
    ways = [webrtc("WebRTC (pion)", _FIRST_PORT + index) for index in range(len(asked))]
    paths = [LinkPath(condition.profile, seed=seed) for condition, seed in asked]
    by_port = {way.port: path for way, path in zip(ways, paths, strict=True)}
    async with (
        certificate() as files,
        EmulatedLink(LinkPath(Profile()), by_port=by_port) as link,
        servers(link, ways, files) as running,
    ):

        async def call(way: Way, path: LinkPath, condition: Condition) -> CallTimes:
            program = await caller(link, way, files, "talk", seconds=seconds)
            await program.until("ready")
            path.byte_count.clear()
            for begin, length in condition.blackouts:
                link.black_out(length, after_s=begin, path=path)
            return (await program.calls(seconds + _TAIL_S))[0]

        calls = await asyncio.gather(*(call(w, p, c) for w, p, (c, _) in zip(ways, paths, asked, strict=True)))
        arrived = [(await server.frames())[0] for server in running]
    outcomes = [
        outcome_of(times, frames, path.byte_count["up"])
        for times, frames, path in zip(calls, arrived, paths, strict=True)
    ]
    return [outcomes[start : start + len(seeds)] for start in range(0, len(outcomes), len(seeds))]


def outcome_of(call: CallTimes, arrived: dict[int, float], byte_count: int) -> Outcome:
    """Lateness of each frame that came, in ms beyond the link's delay."""
    late_ms = {n: 1000 * (arrived[n] - at - ONE_WAY_S) for n, at in call.sent if n in arrived}
    return Outcome(len(call.sent), late_ms, byte_count)
