"""A call through real processes that migrates, is barged in and loses both its workers, held beside the truth."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.cluster import ROOT, Cluster, ClusterOptions
from testbed.calls.recorded_call import CALLER_HZ, Comparison, TrueCall, compare, noise, say_at
from voice_client import AudioOptions, Security, VoiceClient
from voice_gateway.recording.library.archive import FolderArchive
from voice_gateway.recording.library.library import Library

AGENT = "testbed.calls.recorded_call:NoiseAgent"
SPOKEN_S = 44
BOUND_MS = 5.0
_ANSWERS = ((1.0, "say 12000 1"), (10.0, "say 14000 2"), (26.0, "say 14000 3"))
_MIGRATES_AT_S, _BARGED_IN_AT_S, _KILLS_AT_S = 5.0, 7.3, (14.0, 30.0)


@dataclass(frozen=True, slots=True)
class RealCall:
    """How the recording of one call compares; `workers` had it one after the other."""

    compared: Comparison
    said_samples: int
    workers: tuple[str, ...]
    frames_lost: int

    def faults(self) -> list[str]:
        """Say what must not be."""
        found = []
        if not self.compared.is_caller_exact or self.compared.caller_samples != self.said_samples:
            found.append(f"the caller's track has {self.compared.caller_samples} samples of {self.said_samples}")
        if not self.compared.is_agent_exact:
            found.append("the agent's track does not hold what was played")
        if self.compared.worst_offset_ms > BOUND_MS:
            found.append(f"the agent's track is {self.compared.worst_offset_ms:.1f} ms off")
        if len(set(self.workers)) < 2 or len(self.workers) < 3:
            found.append(f"the call did not lose two workers: it was at {', '.join(self.workers)}")
        if self.frames_lost:
            found.append(f"{self.frames_lost} frames were lost")
        return found


async def recorded(seed: int) -> RealCall:
    """Place one call at a load balancer and two workers, and compare its recording with what was said and played."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _recording(folder):
            async with Cluster(ClusterOptions(agent=AGENT)) as cluster:
                await cluster.until_healthy()
                true = TrueCall(noise(seed, SPOKEN_S * CALLER_HZ))
                async with VoiceClient(
                    cluster.url,
                    security=Security(ca_file=cluster.ca_file),
                    audio=AudioOptions(codec="pcm16", sinks=(true,)),
                ) as client:
                    first = client.worker or ""
                    happening = asyncio.create_task(_happen(cluster, client))
                    await client.speak(true)
                    await happening
                    await client.finish()
                workers = (first, *(each.worker for each in client.resumes if each.has_reconnected))
        library = Library(FolderArchive(folder))
        timeline = library.timeline(client.session or "")
    lost = client.frames_sent - client.frames_acked
    return RealCall(compare(timeline, true), len(true.said), workers, lost)


async def _happen(cluster: Cluster, client: VoiceClient) -> None:
    asked = [asyncio.create_task(say_at(client, at_s, text)) for at_s, text in _ANSWERS]
    asked.append(asyncio.create_task(say_at(client, _BARGED_IN_AT_S, "stop")))
    await asyncio.sleep(_MIGRATES_AT_S)
    await client.migrate("127.0.0.3")
    passed = _MIGRATES_AT_S
    for at_s in _KILLS_AT_S:
        await asyncio.sleep(at_s - passed)
        victim = int((client.worker or "").removeprefix("worker-")) - 1
        await cluster.kill_worker(victim)
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(4.0)
        await cluster.start_worker(victim)
        passed = at_s + asyncio.get_running_loop().time() - began
    await asyncio.gather(*asked)


@contextmanager
def _recording(folder: Path) -> Iterator[None]:
    """Have the workers that are started meanwhile record into this folder, and find the agent."""
    wanted = {
        "VOICE_GATEWAY_RECORDING_FOLDER": str(folder),
        "VOICE_GATEWAY_RECORDING_KEEP_AUDIO": "true",
        "VOICE_GATEWAY_RECORDING_CONSENT": "announced",
        "PYTHONPATH": str(ROOT),
    }
    before = {key: os.environ.get(key) for key in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
