"""One call with incidents, told as moments on a timeline."""

from __future__ import annotations

import asyncio
import contextlib
import tomllib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from client import ClientError, VoiceClient
from client.source import open_wav
from deploy.local.cluster import Cluster

RECORDING = Path(__file__).with_name("caller.wav")
FIRST_ADDRESS = "127.0.0.2"
SECOND_ADDRESS = "127.0.0.3"
FRAMES_PER_S = 50


@dataclass(frozen=True, slots=True)
class Instants:
    """Where in the recording things happen, in seconds from its start."""

    words: dict[str, tuple[float, float]]

    @classmethod
    def load(cls) -> Instants:
        """Read what was measured in the recording."""
        words = tomllib.loads(RECORDING.with_suffix(".toml").read_text())["spans"]
        return cls({name: (float(start), float(end)) for name, (start, end) in words.items()})

    def middle(self, name: str) -> float:
        start, end = self.words[name]
        return (start + end) / 2


@dataclass(frozen=True, slots=True)
class Moment:
    """Something happened `at_s` after the caller began to speak."""

    at_s: float
    what: str
    detail: str


@dataclass(slots=True)
class Story:
    """What came of one call. `failure` is None for a call that ended as it should."""

    moments: list[Moment] = field(default_factory=list)
    migration_gap_ms: float | None = None
    migration_validated_ms: float | None = None
    restart_gap_ms: float | None = None
    restart_down_ms: float | None = None
    call: dict[str, Any] = field(default_factory=dict)
    worker_session: dict[str, Any] = field(default_factory=dict)
    failure: str | None = None


Incident = Callable[["Teller"], Awaitable[None]]


class Teller:
    """Places a call to a cluster, lets the incidents happen at their instants, and writes down what came of it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.story = Story()
        self.call: VoiceClient
        self._began_s = 0.0

    async def tell(self, incidents: list[tuple[float, Incident]], *, give_up_s: float = 40.0) -> Story:
        """Call, speak the recording in real time, and return once the call is over, one way or the other."""
        loop = asyncio.get_running_loop()
        try:
            async with (
                asyncio.timeout(give_up_s),
                VoiceClient(
                    self.cluster.url, ca_file=self.cluster.ca_file, local_address=FIRST_ADDRESS, has_playback=False
                ) as self.call,
            ):
                await self.call.until_quiet()
                self._began_s = loop.time()
                self.note("call", f"{self.call.worker} answers, session {self.call.session[:8]}")
                tasks = [asyncio.create_task(self._happen(at_s, incident)) for at_s, incident in incidents]
                try:
                    await self.call.speak(open_wav(RECORDING))
                    await asyncio.gather(*tasks)
                    await self.call.finish()
                finally:
                    for task in tasks:
                        task.cancel()
                self.note("end", "everything said is heard and answered")
        except (ClientError, TimeoutError) as error:
            self.story.failure = str(error) or f"no end within {give_up_s:g} s"
            self.note("lost", self.story.failure)
        await self._collect()
        return self.story

    def note(self, what: str, detail: str) -> None:
        """Write a moment down, now."""
        self.story.moments.append(Moment(asyncio.get_running_loop().time() - self._began_s, what, detail))

    async def switch_network(self) -> None:
        """Incident: the caller leaves its address for another one."""
        try:
            migration = await self.call.migrate(local_address=SECOND_ADDRESS)
        except ClientError as error:
            self.note("switch", f"{FIRST_ADDRESS} → {SECOND_ADDRESS}: {error}")
            return
        self.story.migration_gap_ms = migration.gap_ms
        self.story.migration_validated_ms = migration.validated_ms
        self.note(
            "switch",
            f"{migration.old} → {migration.new}, new connection ID, path validated in {migration.validated_ms:.0f} ms",
        )

    async def kill_forwarder(self) -> None:
        """Incident: the load balancer dies by SIGKILL and is started again at once."""
        loop = asyncio.get_running_loop()
        sent = self.call.frames_sent
        died_s = loop.time()
        await self.cluster.kill_forwarder()
        self.note("kill", "the load balancer gets SIGKILL")
        await self.cluster.start_forwarder()
        self.story.restart_down_ms = (loop.time() - died_s) * 1000
        self.note("restart", f"the load balancer is back after {self.story.restart_down_ms:.0f} ms")
        self._sent_at_kill = sent

    async def _happen(self, at_s: float, incident: Incident) -> None:
        await asyncio.sleep(self._began_s + at_s - asyncio.get_running_loop().time())
        await incident(self)

    async def _collect(self) -> None:
        with contextlib.suppress(AttributeError):
            self.story.call = self.call.report().as_json()
        sessions = await self.cluster.sessions()
        mine = self.story.call.get("session")
        self.story.worker_session = next((session for session in sessions if session["id"] == mine), {})
        if hasattr(self, "_sent_at_kill"):
            gaps = self.story.worker_session.get("uplink", {}).get("largest_gaps", [])
            after = [g["gap_ms"] for g in gaps if -2 <= g["sequence"] - self._sent_at_kill <= FRAMES_PER_S]
            self.story.restart_gap_ms = max(after, default=None)
