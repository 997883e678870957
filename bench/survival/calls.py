"""Calls to which something happens, and what came of each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from bench.link import NatLink
from bench.survival.script import Script, SurvivalError
from deploy.local.cluster import Cluster
from quiclb.net.address import parse_address
from voice_client import AudioOptions, ClientError, ConnectionOptions, Interrupted, Resumed, Security, VoiceClient
from voice_client.call.report import CallReport

ONE_WAY_S = 0.025
STAGGER_S = 0.5
_MOST_PLACEMENTS = 40
_FRAMES_BEFORE, _FRAMES_AFTER = 3, 25
"""Where the frame is that came late because of the event, as counted from those sent by then."""


@dataclass(slots=True)
class Caller:
    """One call over a link of its own; `struck_at` is when something happened to it, `struck_frames` what was sent."""

    link: NatLink
    client: VoiceClient
    struck_at: float = 0.0
    struck_frames: int = 0
    first_worker: str = ""
    fault: str | None = None
    interruptions: list[tuple[float, Interrupted | Resumed]] = field(default_factory=list)

    def strike(self) -> None:
        """Note that it happens now."""
        self.struck_at = asyncio.get_running_loop().time()
        self.struck_frames = self.client.frames_sent


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call; `resume_ms` is from the decision to dial until the session went on."""

    gap_ms: float | None
    resume_ms: float | None
    frames_lost: int
    words_lost: int
    is_order_kept: bool
    fault: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens to calls.

    `is_sudden`: from then on no frame arrives for a while, so that is where the gap of a call begins that goes on at
    another worker; else it begins with the last acknowledgement. `is_way_open`: a new connection is possible at
    once, so that the time it takes is the client's and the worker's own.
    """

    happen: Callable[[Cluster, Sequence[Caller]], Awaitable[None]]
    is_sudden: bool = True
    is_way_open: bool = False


async def hold(cluster: Cluster, script: Script, event: Event, count: int, victim: int | None) -> list[Outcome]:
    """Hold so many calls at once, all on the worker `victim` if one is named, and let the event happen to them."""
    async with AsyncExitStack() as opened:
        callers = await asyncio.gather(*(_place(opened, cluster, script, victim) for _ in range(count)))
        following = [asyncio.create_task(_follow(caller)) for caller in callers]
        performing = [asyncio.create_task(_perform(caller, script)) for caller in callers]
        await asyncio.sleep(script.event_at_s + STAGGER_S / 2)
        happening = asyncio.create_task(_happen(event, cluster, callers))
        await asyncio.gather(*performing)
        sessions = {each["id"]: each for each in await _sessions(cluster)}
        reports = [caller.client.report() for caller in callers]
        for caller in callers:
            caller.client.close()
        await asyncio.gather(*following)
        await happening
    return [
        _outcome(script, caller, report, event.is_sudden, sessions.get(report.session or ""))
        for caller, report in zip(callers, reports, strict=True)
    ]


async def _happen(event: Event, cluster: Cluster, callers: Sequence[Caller]) -> None:
    for caller in callers:
        caller.strike()
    await event.happen(cluster, callers)


async def _place(opened: AsyncExitStack, cluster: Cluster, script: Script, victim: int | None) -> Caller:
    link = await opened.enter_async_context(NatLink(parse_address(cluster.addresses.listen), ONE_WAY_S))
    url = f"https://{link.address[0]}:{link.address[1]}/v1/voice"
    for _ in range(_MOST_PLACEMENTS):
        client = VoiceClient(
            url,
            agent=script.agent,
            security=Security(ca_file=cluster.ca_file),
            audio=AudioOptions(script.codec, has_playback=False),
            connection=ConnectionOptions(local_address="127.0.0.2", heartbeat_s=script.heartbeat_s),
        )
        await client.__aenter__()
        if victim in (None, _index(client.worker)):
            opened.push_async_exit(client)
            return Caller(link, client, first_worker=client.worker or "")
        # the load balancer chooses by the address: from another port it may be another worker
        client.close()
    raise SurvivalError(f"the load balancer gave worker {victim} none of {_MOST_PLACEMENTS} calls")


async def _perform(caller: Caller, script: Script) -> None:
    try:
        await asyncio.sleep(random.uniform(0, STAGGER_S))
        await script.perform(caller.client)
        await caller.client.finish()
    except ClientError as error:
        caller.fault = str(error)


async def _follow(caller: Caller) -> None:
    loop = asyncio.get_running_loop()
    async for event in caller.client.events():
        if isinstance(event, Interrupted | Resumed):
            caller.interruptions.append((loop.time(), event))


async def _sessions(cluster: Cluster) -> list[dict[str, Any]]:
    try:
        return await cluster.sessions()
    except OSError:  # a worker is just being started again
        await asyncio.sleep(0.5)
        return await _sessions(cluster)


def _outcome(
    script: Script, caller: Caller, report: CallReport, is_sudden: bool, session: dict[str, Any] | None
) -> Outcome:
    resumes = [
        (at_s - before_s, event, at_s)
        for (before_s, _), (at_s, event) in zip(caller.interruptions, caller.interruptions[1:], strict=False)
        if isinstance(event, Resumed) and event.has_reconnected
    ]
    if resumes and report.worker != caller.first_worker:
        gaps_ms = [event.gap_ms + ONE_WAY_S * 1000 for _, event, _ in resumes]
        if is_sudden:
            gaps_ms[0] = (resumes[0][2] - caller.struck_at + ONE_WAY_S) * 1000
    else:
        largest = [] if session is None else session["uplink"]["largest_gaps"]
        near = range(caller.struck_frames - _FRAMES_BEFORE, caller.struck_frames + _FRAMES_AFTER)
        gaps_ms = [gap["gap_ms"] for gap in largest if gap["sequence"] in near]
    return Outcome(
        gap_ms=max(gaps_ms, default=None),
        resume_ms=max((took_s * 1000 for took_s, _, _ in resumes), default=None),
        frames_lost=report.frames_sent - report.frames_acked,
        words_lost=script.words_lost(report.state),
        is_order_kept=script.is_in_order(report.state),
        fault=caller.fault,
    )


def _index(worker: str | None) -> int:
    return int((worker or "").removeprefix("worker-")) - 1
