"""Run a scenario: one call with incidents at set instants, and its timeline."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.local.cluster import Cluster
from voice_client import ClientError, ConnectionOptions, MigrationFailed, Security, VoiceClient

RECORDING = Path(__file__).with_name("caller.wav")
FIRST_ADDRESS = "127.0.0.2"
FRAMES_PER_S = 50


def middle_of(span: str) -> float:
    """The middle of a word or sentence of the recording, in seconds from its start."""
    instants = tomllib.loads(RECORDING.with_suffix(".toml").read_text())[span]
    return (float(instants["start"]) + float(instants["end"])) / 2


@dataclass(slots=True)
class Moment:
    """Something happened `at_s` after the caller began to speak, or before."""

    at_s: float
    what: str
    detail: str


@dataclass(slots=True)
class ScenarioResult:
    """The result of one call. `failure` is `None` for a call that ended as it should.

    Gaps are between the arrivals of two uplink frames at the worker, which come 20 ms apart when nothing happens.
    """

    moments: list[Moment] = field(default_factory=list)
    first_worker: str | None = None
    switch_gap_ms: float | None = None
    restart_gap_ms: float | None = None
    call: dict[str, Any] = field(default_factory=dict)
    worker_session: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None
    is_cut_off: bool = False
    """Whether the caller's new address got no answer."""


Incident = Callable[["ScenarioRunner"], Awaitable[None]]


class ScenarioRunner:
    """Places a call, lets the incidents happen at their instants, and writes down what came of it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.result = ScenarioResult()
        # no resume: the scenario is that one connection survives, not that a new one replaces it
        self.call = VoiceClient(
            cluster.url,
            security=Security(ca_file=cluster.ca_file),
            connection=ConnectionOptions(local_address=FIRST_ADDRESS, resume_timeout_s=0),
        )
        self._began_at = 0.0
        self._frames_at: dict[str, int] = {}

    async def run(self, incidents: list[tuple[float, Incident]], *, give_up_s: float = 60.0) -> ScenarioResult:
        """Call, speak the recording in real time, and return once the call is over, one way or the other."""
        try:
            async with asyncio.timeout(give_up_s), self.call:
                await self._converse(incidents)
        except (ClientError, TimeoutError) as error:
            self.result.is_cut_off = isinstance(error, MigrationFailed) and "switch" in self._frames_at
            self.result.failure = str(error) or f"no end within {give_up_s:g} s"
            self.note("lost", self.result.failure)
        self.result.call = self.call.report().as_json()
        await self._ask_the_workers()
        return self.result

    def note(self, what: str, detail: str) -> None:
        """Write a moment down, now."""
        self.result.moments.append(Moment(asyncio.get_running_loop().time() - self._began_at, what, detail))

    async def switch_network(self, address: str) -> None:
        """Incident: the caller's network is gone, it goes on from another address."""
        self._frames_at["switch"] = self.call.frames_sent
        before = self.call.local_address
        self.note("switch", f"the caller leaves {before} for {address}: new socket, new connection ID")
        moved = await self.call.migrate(local_address=address, keep_old_s=0.0)
        self.note("moved", f"the path from {moved.new} is validated, {moved.validated_ms:.0f} ms after the switch")

    async def restart_balancer(self) -> None:
        """Incident: the load balancer dies by SIGKILL and is started again at once."""
        loop = asyncio.get_running_loop()
        self._frames_at["restart"] = self.call.frames_sent
        died_at = loop.time()
        await self.cluster.kill_balancer()
        self.note("kill", "SIGKILL ends the load balancer")
        await self.cluster.start_balancer()
        self.note("restart", f"the load balancer forwards again, {1000 * (loop.time() - died_at):.0f} ms later")

    async def _converse(self, incidents: list[tuple[float, Incident]]) -> None:
        loop = asyncio.get_running_loop()
        self._began_at = loop.time()
        self.result.first_worker = self.call.worker
        self.note("answered", f"{self.call.worker} takes the call from {self.call.local_address}")
        await self.call.listen(grace_s=1.0)
        for moment in self.result.moments:
            moment.at_s -= loop.time() - self._began_at
        self._began_at = loop.time()
        self.note("speak", "the caller begins to speak")
        happening = [asyncio.create_task(self._happen(self._began_at + at_s, each)) for at_s, each in incidents]
        try:
            await asyncio.gather(self.call.speak(RECORDING), *happening)
        finally:
            for task in happening:
                task.cancel()
        self.note("silence", "the caller has said all")
        await self.call.finish()
        self.note("end", "every frame is acked and answered, the worker says bye")

    async def _happen(self, at: float, incident: Incident) -> None:
        await asyncio.sleep(at - asyncio.get_running_loop().time())
        await incident(self)

    async def _ask_the_workers(self) -> None:
        sessions = await self.cluster.sessions()
        mine = self.result.call["session"]
        self.result.worker_session = next((session for session in sessions if session["id"] == mine), {})
        gaps = self.result.worker_session.get("uplink", {}).get("largest_gaps", [])
        near = {
            name: max((gap["gap_ms"] for gap in gaps if -2 <= gap["sequence"] - first <= FRAMES_PER_S), default=None)
            for name, first in self._frames_at.items()
        }
        self.result.switch_gap_ms, self.result.restart_gap_ms = near.get("switch"), near.get("restart")
