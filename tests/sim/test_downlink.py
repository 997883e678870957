"""An answer on its way to the loudspeaker: how far the worker sends ahead, and which outages interrupt playback."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import structlog

from testbed.calls.simulated_cluster import Plan, SimulatedCluster
from testbed.simnet.links import Profile
from testbed.simulation import Simulation, simulate
from voice_gateway.agent.base import Agent, Conversation, Emit, Reply, ReplyAudio, ReplyEnded, UserAudio
from voice_gateway.certificates.development import DevelopmentCertificate

pytestmark = pytest.mark.usefixtures("both_ways")

LECTURE_S = 14
LECTURE = bytes(np.random.default_rng(1).normal(0, 3_000, LECTURE_S * 24_000).astype("<i2"))
STORY_PIECES = 32
STORY = LECTURE[: 8 * 48_000]
TARGET_S, CAP_S = 4.0, 5.0


class Lecturer(Agent):
    """An agent that greets with a long lecture, made at once."""

    name = "lecturer"
    input_rate_hz = 16_000
    output_rate_hz = 24_000

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> _Lecture:
        return _Lecture(emit)


class _Lecture(Conversation):
    def greet(self) -> None:
        self.say_again("a long answer")

    def hear(self, audio: UserAudio) -> None: ...

    def say_again(self, text: str) -> None:
        self.emit(Reply(text))
        self.emit(ReplyAudio(LECTURE))
        self.emit(ReplyEnded())


class Storyteller(Agent):
    """An agent that makes an answer of 8 s in pieces, over more than 2 s, and cannot say it again."""

    name = "storyteller"
    input_rate_hz = 16_000
    output_rate_hz = 24_000

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> _Story:
        return _Story(emit)


class _Story(Conversation):
    def greet(self) -> None:
        self.emit(Reply("a story"))
        self._tell(0)

    def hear(self, audio: UserAudio) -> None: ...

    def _tell(self, piece: int) -> None:
        if piece == STORY_PIECES:
            self.emit(ReplyEnded())
            return
        size = len(STORY) // STORY_PIECES
        self.emit(ReplyAudio(STORY[piece * size : (piece + 1) * size]))
        asyncio.get_running_loop().call_later(0.07, self._tell, piece + 1)


@dataclass
class Loudspeaker:
    """A `Sink` that notes when it is given sound."""

    played: list[tuple[float, bytes]] = field(default_factory=list)

    def play(self, at_s: float, pcm: bytes) -> None:
        self.played.append((at_s, pcm))

    def flush(self) -> None: ...

    def close(self) -> None: ...

    @property
    def longest_silence_s(self) -> float:
        ends = [(at, at + len(pcm) / 48_000) for at, pcm in self.played]
        return max(begin - end for (_, end), (begin, _) in itertools.pairwise(ends))

    @property
    def sound(self) -> bytes:
        return b"".join(pcm for _, pcm in self.played)


@dataclass
class Outcome:
    loudspeaker: Loudspeaker
    leads_s: list[float]
    resumes: int
    underrun_ms: int


def lecture(
    certificate: DevelopmentCertificate, outages: list[tuple[float, float]], agent: type[Agent] = Lecturer
) -> Outcome:
    """Listen to all that the agent says over a path with these outages, each from and to so many seconds."""

    async def scenario(sim: Simulation) -> Outcome:
        session = (("downlink_target_s", TARGET_S), ("downlink_cap_s", CAP_S))
        plan = Plan(Profile(delay_s=0.05), workers=1, session=session)
        cluster = SimulatedCluster(sim, certificate, lambda name: agent(), plan)
        await cluster.start()
        loudspeaker = Loudspeaker()
        leads_s: list[float] = []

        async def call() -> Outcome:
            async with cluster.client(codec="pcm16", sinks=[loudspeaker]) as client:
                for begin, end in outages:
                    cluster.caller.link.black_out(sim.now() + begin, sim.now() + end)
                listening = sim.loop.create_task(client.listen())
                while not listening.done():
                    await asyncio.sleep(0.1)
                    leads_s.extend(
                        one.downlink_lead_s for worker in cluster.workers.values() for one in worker.sessions.snapshot()
                    )
                await listening
                await client.finish()
                report = client.report()
                return Outcome(loudspeaker, leads_s, len(report.resumes), report.longest_downlink_gap_ms or 0)

        try:
            return await cluster.caller.run(call())
        finally:
            await cluster.stop()

    with structlog.testing.capture_logs():
        return simulate(scenario, seed=5)[0]


def test_the_worker_runs_ahead_as_far_as_it_may(certificate: DevelopmentCertificate) -> None:
    outcome = lecture(certificate, [])
    assert outcome.loudspeaker.sound == LECTURE
    assert outcome.loudspeaker.longest_silence_s < 0.001
    assert max(outcome.leads_s) <= CAP_S
    assert max(outcome.leads_s) > TARGET_S - 0.5


@pytest.mark.parametrize("outage_s", [0.5, 2.0, 3.0, 3.5])
def test_an_outage_shorter_than_the_buffer_leaves_no_gap(certificate: DevelopmentCertificate, outage_s: float) -> None:
    """Also where the session is resumed over another connection in the meantime."""
    outcome = lecture(certificate, [(5.0, 5.0 + outage_s)])
    assert outcome.loudspeaker.longest_silence_s < 0.001
    assert outcome.loudspeaker.sound == LECTURE, "byte by byte, over any connection"
    assert outcome.underrun_ms == 0
    assert max(outcome.leads_s) <= CAP_S


def test_an_outage_longer_than_the_buffer_leaves_a_gap(certificate: DevelopmentCertificate) -> None:
    assert lecture(certificate, [(5.0, 5.0 + CAP_S + 2)]).loudspeaker.longest_silence_s > 1.0


@pytest.mark.parametrize("outages", [[(0.8, 2.0)], [(0.8, 3.0)], [(0.6, 9.0)], [(0.5, 1.7), (2.4, 4.0)]])
def test_an_answer_that_is_being_made_goes_on_at_the_same_worker(
    certificate: DevelopmentCertificate, outages: list[tuple[float, float]]
) -> None:
    """Each byte once and in order, though the agent says nothing again: what it made meanwhile was held."""
    outcome = lecture(certificate, outages, Storyteller)
    assert outcome.resumes >= len(outages)
    assert outcome.loudspeaker.sound == STORY
