"""Calls of ten minutes that migrate, are barged in and lose their worker, recorded and held beside the truth.

First on virtual time, over simulated links; then shorter ones through real processes, each of which loses both of its
workers. Both tracks are compared with what the caller said and played, sample by sample. Writes
`bench/results/recording.json` and prints tables. `--minutes`, `--seeds` and `--processes` make it shorter or longer. A
call through processes whose tracks are 5 ms apart from the truth ends the bench with an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from unittest import mock

import structlog

from bench.figures import commit
from bench.recording import processes
from testbed.calls.recorded_call import CALLER_HZ, Comparison, NoiseAgent, TrueCall, compare, noise, say_at
from testbed.calls.simulated_cluster import HOME, MOBILE, Plan, SimulatedCluster, make_certificate
from testbed.simnet.links import Profile
from testbed.simulation import Simulation, simulate
from voice_client.options import AudioOptions
from voice_gateway.certificates.development import DevelopmentCertificate
from voice_gateway.recording.library.archive import FolderArchive
from voice_gateway.recording.library.library import Library
from voice_gateway.worker import worker as worker_module
from voice_gateway.worker.recordings import WorkerRecordings

RESULTS = Path("bench/results/recording.json")
LINKS = {
    "25 ms": Profile(delay_s=0.025),
    "40 ms, jitter 20 ms": Profile(delay_s=0.040, jitter_s=0.020),
    "40 ms, jitter 10 ms, loss 1 %": Profile(delay_s=0.040, jitter_s=0.010, loss=0.01),
}
_CYCLE_S = 30.0


def recorded(
    certificate: DevelopmentCertificate, folder: Path, seed: int, access: Profile, spoken_s: int
) -> tuple[Comparison, int]:
    """Place one call and return how its recording compares, and how many answers it has."""
    true = TrueCall(noise(seed, spoken_s * CALLER_HZ))

    async def scenario(sim: Simulation) -> None:
        recording = {"folder": folder, "keep_audio": True, "consent": "announced"}
        cluster = SimulatedCluster(
            sim, certificate, lambda name: NoiseAgent(), Plan(access=access, recording=tuple(recording.items()))
        )
        await cluster.start()

        async def call() -> None:
            """Every half minute an answer of 12 s; of four one is barged in, one migrates, and one loses its worker."""
            async with cluster.client(audio=AudioOptions(codec="pcm16", sinks=(true,))) as client:
                begins = [1.0 + _CYCLE_S * cycle for cycle in range(int((spoken_s - 20) / _CYCLE_S))]
                for cycle, begin_s in enumerate(begins):
                    sim.loop.create_task(say_at(client, begin_s, f"say 12000 {cycle + 1}"))
                    if cycle % 4 == 1:
                        sim.loop.create_task(say_at(client, begin_s + sim.rng.uniform(2, 9), "stop"))
                speaking = sim.loop.create_task(client.speak(true))
                for cycle, begin_s in enumerate(begins):
                    await asyncio.sleep(max(0.0, begin_s + 5.0 - _elapsed(sim, began)))
                    if cycle % 4 == 2:
                        await client.migrate(MOBILE if cycle % 8 == 2 else HOME)
                    elif cycle % 4 == 3:
                        host = sim.network.hosts[str(client.worker)]
                        host.kill()
                        await asyncio.sleep(4.0)
                        await cluster.start_worker(cluster.worker_hosts.index(host))
                await speaking
                await client.finish(timeout_s=120)

        began = sim.now()
        await cluster.caller.run(call())
        await cluster.stop()

    with mock.patch.object(worker_module, "WorkerRecordings", partial(WorkerRecordings, is_threaded=False)):
        simulate(scenario, seed=seed, limit_s=spoken_s + 300)
    library = Library(FolderArchive(folder))
    timeline = library.timeline(library.summaries()[0].session_id)
    return compare(timeline, true), len(timeline.answers)


def _elapsed(sim: Simulation, began: float) -> float:
    return sim.now() - began


def through_processes(calls: int) -> tuple[list[dict[str, object]], list[str]]:
    """Place the calls one after the other, print a line for each, and return them and what must not be."""
    rows: list[dict[str, object]] = []
    faults: list[str] = []
    print(f"\n{'real processes':32} call  caller exact  agent exact  worst ms  median ms  workers")
    for seed in range(1, calls + 1):
        call = asyncio.run(processes.recorded(seed))
        compared = call.compared
        rows.append({"seed": seed, "said_samples": call.said_samples, "workers": call.workers, **asdict(compared)})
        faults += call.faults()
        print(
            f"{'both workers killed':32} {seed:4}  {compared.is_caller_exact!s:12}  {compared.is_agent_exact!s:11}"
            f"  {compared.worst_offset_ms:8.2f}  {compared.median_offset_ms:9.2f}  {' '.join(call.workers)}"
        )
    return rows, faults


def main() -> int:
    """Run all links and seeds, and print a line for each call."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=3, help="calls through real processes")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    rows: list[dict[str, object]] = []
    print(f"{'link':32} seed  caller exact  agent exact  worst ms  median ms  answers  wall s")
    with tempfile.TemporaryDirectory() as folder:
        certificate = make_certificate(Path(folder) / "certificate")
        for name, access in LINKS.items():
            for seed in range(1, arguments.seeds + 1):
                began = time.perf_counter()
                calls = Path(folder) / f"{len(rows)}"
                compared, answers = recorded(certificate, calls, seed, access, int(arguments.minutes * 60))
                took_s = time.perf_counter() - began
                rows.append({"link": name, "seed": seed, "answers": answers, **asdict(compared)})
                print(
                    f"{name:32} {seed:4}  {compared.is_caller_exact!s:12}  {compared.is_agent_exact!s:11}"
                    f"  {compared.worst_offset_ms:8.2f}  {compared.median_offset_ms:9.2f}  {answers:7}  {took_s:6.1f}"
                )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    real, faults = through_processes(arguments.processes)
    document = {"commit": commit(), "minutes": arguments.minutes, "calls": rows, "processes": real, "faults": faults}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
