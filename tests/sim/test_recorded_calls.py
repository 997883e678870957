"""Recordings of whole calls through load balancers and workers: production code, on simulated hosts and clocks."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from testbed.calls.recorded_call import CALLER_HZ, NoiseAgent, TrueCall, compare, noise, say_at
from testbed.calls.simulated_cluster import HOME_LINK, MOBILE, Plan, SimulatedCluster
from testbed.simnet.links import Profile
from testbed.simulation import Simulation, simulate
from voice_client.options import AudioOptions
from voice_gateway.certificates.development import DevelopmentCertificate
from voice_gateway.recording.library.archive import FolderArchive
from voice_gateway.recording.library.library import Library
from voice_gateway.recording.reading.assembly import Timeline
from voice_gateway.worker import worker as worker_module
from voice_gateway.worker.recordings import WorkerRecordings

SPOKEN_S = 40


def recorded_call(
    certificate: DevelopmentCertificate, folder: Path, seed: int, access: Profile = HOME_LINK
) -> tuple[Timeline, TrueCall]:
    """A call that migrates, is barged in, and loses its worker in the middle of an answer."""
    true = TrueCall(noise(seed, SPOKEN_S * CALLER_HZ))

    async def scenario(sim: Simulation) -> None:
        recording = {"folder": folder, "keep_audio": True, "keep_transcripts": True, "consent": "announced"}
        plan = Plan(access=access, recording=tuple(recording.items()))
        cluster = SimulatedCluster(sim, certificate, lambda name: NoiseAgent(), plan)
        await cluster.start()

        async def call() -> None:
            audio = AudioOptions(codec="pcm16", sinks=(true,))
            async with cluster.client(audio=audio) as client:
                for at_s, text in (
                    (1.0, "say 4000 1"),
                    (8.0, "say 8000 2"),
                    (12.34, "stop"),
                    (15.0, "say 20000 3"),
                    (36.5, "say 1500 4"),
                ):
                    sim.loop.create_task(say_at(client, at_s, text))
                speaking = sim.loop.create_task(client.speak(true))
                await asyncio.sleep(3.1)
                await client.migrate(MOBILE)
                await asyncio.sleep(16.0)
                sim.network.hosts[str(client.worker)].kill()
                await speaking
                await client.finish()
                assert client.is_finished
                assert len(client.resumes) == 1

        await cluster.caller.run(call())
        for host in cluster.worker_hosts:
            if host.open_ports():
                await host.run(cluster.workers[host.name].stop(deadline_s=1.0))
        for host in cluster.balancer_hosts:
            await host.run(cluster.balancers[host.name].stop())

    with mock.patch.object(worker_module, "WorkerRecordings", partial(WorkerRecordings, is_threaded=False)):
        simulate(scenario, seed=seed)
    library = Library(FolderArchive(folder))
    (summary,) = library.summaries()
    assert summary.code == "normal"
    assert len(summary.workers) == 2
    return library.timeline(summary.session_id), true


@pytest.mark.parametrize("access", [HOME_LINK, Profile(delay_s=0.040, jitter_s=0.010)], ids=["steady", "jitter"])
def test_a_call_that_migrated_lost_its_worker_and_was_barged_in_is_recorded_to_the_sample(
    certificate: DevelopmentCertificate, tmp_path: Path, access: Profile
) -> None:
    timeline, true = recorded_call(certificate, tmp_path, seed=1, access=access)
    compared = compare(timeline, true)
    assert compared.is_caller_exact
    assert compared.is_agent_exact
    assert compared.caller_samples == SPOKEN_S * CALLER_HZ
    assert timeline.caller.missing == timeline.agent.missing == ()
    assert compared.worst_offset_ms < 5.0
    kinds = {event.kind for event in timeline.events}
    assert {"began", "migrated", "interrupted", "taken_over", "resumed", "ended"} <= kinds
    # the control: without what the dead worker wrote, the comparison finds the difference
    (folder,) = tmp_path.iterdir()
    for path in sorted(folder.iterdir())[:3]:
        path.unlink()
    half = compare(Library(FolderArchive(tmp_path)).timeline(folder.name), true)
    assert (half.is_caller_exact, half.is_agent_exact) == (False, False)
