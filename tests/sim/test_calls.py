"""Whole calls through load balancers to workers, under every network fault: the production code on simulated hosts.

The caller says a drink order of seven seconds. The order agent recognises it with its real models. Under every
fault the order must be complete, and every frame must have reached the agent once and in order.
"""

from __future__ import annotations

import asyncio
import random
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testbed.calls import network_faults
from testbed.calls.agents import NotingAgent, noting_order_agent
from testbed.calls.simulated_cluster import Plan, SimulatedCluster
from testbed.simnet.links import Profile
from testbed.simulation import Simulation, seeds, simulate
from voice_client.call.report import CallReport
from voice_gateway.agent.base import UserAudio
from voice_gateway.certificates.development import DevelopmentCertificate

pytestmark = pytest.mark.usefixtures("order_agent_models", "both_ways")

RECORDING = Path(__file__).parents[2] / "deploy" / "local" / "caller.wav"
FRAME_BYTES = 640
ORDERED = [("taro milk tea", "large", "oat", 75), ("matcha latte", "medium", "whole", 100)]

KINDS: list[tuple[str, Callable[[random.Random], Profile], network_faults.NetworkFault]] = [
    ("loss", network_faults.lossy, network_faults.nothing),
    ("reordering", network_faults.reordering, network_faults.nothing),
    ("rebinding", network_faults.lossy, network_faults.rebinding),
    ("migration", network_faults.lossy, network_faults.migration),
    ("load balancer killed", network_faults.lossy, network_faults.balancer_killed),
    ("everything", network_faults.reordering, network_faults.everything),
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A call as both ends saw it; `received` has the frames of each conversation with an agent, of all workers."""

    report: CallReport
    received: list[list[UserAudio]]


async def place_call(
    sim: Simulation,
    certificate: DevelopmentCertificate,
    plan: Plan,
    fault: network_faults.NetworkFault = network_faults.nothing,
    **options: Any,
) -> Outcome:
    """Say the recording while `fault` takes its course; raises the call's error. `options` are the client's."""
    agents: list[NotingAgent] = []

    def make_agent(name: str) -> NotingAgent:
        agents.append(noting_order_agent(name))
        return agents[-1]

    cluster = SimulatedCluster(sim, certificate, make_agent, plan)
    await cluster.start()
    rng = random.Random(sim.rng.getrandbits(64))

    async def call() -> CallReport:
        async with cluster.client(codec="pcm16", has_playback=False, **options) as client:
            taking_its_course = sim.loop.create_task(fault(cluster, client, rng))
            try:
                await client.speak(RECORDING)
                await client.finish()
            finally:
                if not client.is_finished:
                    taking_its_course.cancel()
                await asyncio.wait([taking_its_course])
            return client.report()

    try:
        report = await cluster.caller.run(call())
    finally:
        await cluster.stop()
    return Outcome(report, [received for agent in agents for received in agent.received])


def assert_is_whole(outcome: Outcome) -> None:
    """The order is complete, and each conversation got its frames exactly once, in order and unchanged.

    There is more than one where another worker went on with the call: from a frame that the one before had.
    """
    report = outcome.report
    items = [(item["drink"], item["size"], item["milk"], item["sugar_percent"]) for item in report.state["items"]]
    assert report.is_complete
    assert items == ORDERED
    pieces: dict[int, bytes] = {}
    for received in sorted(filter(None, outcome.received), key=lambda received: received[0].sequence):
        sequences = [audio.sequence for audio in received]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        assert sequences[0] <= len(pieces), "a conversation begins behind frames that no agent received"
        pieces.update((audio.sequence, audio.pcm) for audio in received)
    assert sorted(pieces) == list(range(report.frames_sent))
    assert b"".join(pieces[sequence] for sequence in sorted(pieces)) == _spoken()
    assert report.frames_acked == report.frames_sent


def _spoken() -> bytes:
    """The recording, in whole frames."""
    with wave.open(str(RECORDING)) as recording:
        pcm = recording.readframes(recording.getnframes())
    return pcm + bytes(-len(pcm) % FRAME_BYTES)


@pytest.mark.parametrize("seed", seeds(100))
def test_a_call_comes_through_whole(certificate: DevelopmentCertificate, seed: int) -> None:
    name, profile, fault = KINDS[seed % len(KINDS)]

    async def scenario(sim: Simulation) -> Outcome:
        sim.network.note("fault", name)
        return await place_call(sim, certificate, Plan(access=profile(sim.rng)), fault)

    assert_is_whole(simulate(scenario, seed=seed)[0])


def test_a_call_is_replayed_byte_by_byte(certificate: DevelopmentCertificate) -> None:
    """Also the first of a process, when nothing is loaded or remembered yet, by whichever run comes first here."""

    def digest() -> str:
        plan = Plan(access=network_faults.reordering(random.Random(7)))
        _, sim = simulate(lambda sim: place_call(sim, certificate, plan, network_faults.everything), seed=7)
        return sim.trace.digest()

    assert digest() == digest()
