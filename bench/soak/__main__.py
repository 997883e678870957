"""Calls come and go for half an hour at two workers under `voice-gateway up`, and their memory is watched.

Callers speak, type, barge in, migrate, lose their connection, or vanish without a word; every call is recorded, both
sides and words, and metrics are asked for every ten seconds, as Prometheus does. The slope of each process's resident
memory is fitted after the first third; a slope above the bound by more than its error ends the bench with an error, as
does a lost frame.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.capacity.servers.server import Usage
from bench.figures import RESULTS, save, table
from bench.soak.churn import Churn
from bench.soak.memory import Slope, fit, resident_mb
from bench.soak.plot import draw
from deploy.local.cluster import CERTIFICATES
from testbed.box import Box, box

BOUND_KB_PER_MIN = 50.0
"""72 MB a day."""
SAMPLE_S = 10.0
WARM_UP = 1 / 3
_SETTINGS = """[worker]
listen = "127.0.0.1:0"

[tls]
certificate = "{certificates}/leaf.pem"
key = "{certificates}/leaf.key"

[recording]
folder = "{folder}/calls"
keep_audio = true
keep_transcripts = true
consent = "announced"
"""


@dataclass(slots=True)
class Samples:
    """Minutes since the first call, and the memory of each process in MB at each of them."""

    minutes: list[float] = field(default_factory=list)
    mb: dict[str, list[float]] = field(default_factory=dict)

    def slopes(self, after_min: float) -> dict[str, Slope]:
        """The slope of each process's memory, of the samples after so many minutes."""
        first = sum(at < after_min for at in self.minutes)
        return {name: fit(self.minutes[first:], mb[first:]) for name, mb in self.mb.items()}


async def watch(running: Box, pids: dict[str, int], minutes: float) -> Samples:
    """Take the memory of each process every ten seconds for so many minutes, and ask for its metrics."""
    samples = Samples(mb={name: [] for name in pids})
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (passed := loop.time() - began) < minutes * 60:
        samples.minutes.append(passed / 60)
        for name, pid in pids.items():
            samples.mb[name].append(resident_mb(pid))
        await asyncio.to_thread(_scrape, running.facts["admin"], len(pids))
        await asyncio.sleep(max(0.0, began + SAMPLE_S * len(samples.minutes) - loop.time()))
    return samples


def _scrape(admin: str, ports: int) -> None:
    host, _, port = admin.rpartition(":")
    for each in range(ports):
        with (
            suppress(OSError),
            urllib.request.urlopen(f"http://{host}:{int(port) + each}/metrics", timeout=5) as answer,
        ):
            answer.read()


async def measure(minutes: float, at_once: int, agent: str) -> bool:
    """Run the churn and write what it took; return whether memory was flat and nothing lost."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = folder / "up.toml"
        settings.write_text(_SETTINGS.format(certificates=CERTIFICATES, folder=folder))
        async with box(folder / "state", "--config", str(settings), "--agent", agent) as running:
            quiet = asyncio.create_task(_drain(running))
            workers = await running.workers()
            pids = {"supervisor": running.process.pid, **workers}
            churn = Churn(f"https://{running.facts['direct']}/v1/voice", CERTIFICATES / "ca.pem", at_once)
            calling = asyncio.create_task(churn.run())
            before, began = {name: Usage.of(pid).cpu_s for name, pid in pids.items()}, time.monotonic()
            samples = await watch(running, pids, minutes)
            took_s = time.monotonic() - began
            cpu = {name: (Usage.of(pid).cpu_s - before[name]) / took_s for name, pid in pids.items()}
            same = await running.workers() == workers
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
            quiet.cancel()
            await asyncio.gather(quiet, return_exceptions=True)
    warm_up_min = minutes * WARM_UP
    slopes = samples.slopes(warm_up_min)
    growing = [name for name, slope in slopes.items() if slope.is_above(BOUND_KB_PER_MIN)]
    faults = [f"{name}: memory grows by {_said(slopes[name])}" for name in growing]
    if churn.frames_lost:
        faults.append(f"{churn.frames_lost} frames were lost")
    if not same:
        faults.append("a worker ended")
    faults += [f"{count} times: {fault}" for fault, count in churn.faults.items()]
    _report(minutes, samples, slopes, churn, cpu, faults, warm_up_min)
    return not faults


async def _drain(running: Box) -> None:
    """Read the log, so that its pipe does not fill."""
    stream = running.process.stderr
    while stream is not None and await stream.readline():
        pass


def _said(slope: Slope) -> str:
    return f"{slope.kb_per_min:+.1f} ± {slope.error_kb_per_min:.1f} kB a minute"


def _report(
    minutes: float,
    samples: Samples,
    slopes: dict[str, Slope],
    churn: Churn,
    cpu: dict[str, float],
    faults: list[str],
    warm_up_min: float,
) -> None:
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(churn.calls.items()))
    samples_fitted = next(iter(slopes.values())).samples
    rows = [
        [
            name,
            f"{mb[0]:.1f} / {max(mb):.1f} / {mb[-1]:.1f}",
            _said(slopes[name]),
            f"{cpu[name]:.0%}",
        ]
        for name, mb in samples.mb.items()
    ]
    RESULTS.mkdir(parents=True, exist_ok=True)
    draw(samples.minutes, samples.mb, slopes, warm_up_min, RESULTS / "soak.png")
    text = "\n".join(
        [
            table(["process", "RSS at first / most / at last, MB", "slope after warm-up (95 %)", "of a core"], rows),
            "",
            f"{sum(churn.calls.values())} calls in {minutes:g} minutes ({kinds}), {churn.frames_lost} frames lost. "
            f"The slope is of the last two thirds, n = {samples_fitted}.",
            *(f"- {fault}" for fault in faults),
        ]
    )
    document = {
        "minutes": minutes,
        "calls": dict(churn.calls),
        "frames_lost": churn.frames_lost,
        "faults": faults,
        "bound_kb_per_min": BOUND_KB_PER_MIN,
        "slopes": {name: asdict(slope) for name, slope in slopes.items()},
        "cpu": cpu,
        "at_min": [round(at, 2) for at in samples.minutes],
        "rss_mb": {name: [round(each, 2) for each in mb] for name, mb in samples.mb.items()},
    }
    save("soak", document, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--at-once", type=int, default=5, help="callers at a time")
    parser.add_argument("--agent", default="order", help="who answers")
    arguments = parser.parse_args()
    if arguments.minutes < 1.5:
        parser.error("--minutes must be 1.5 or more: a slope with its error needs four samples after warm-up")
    return 0 if asyncio.run(measure(arguments.minutes, arguments.at_once, arguments.agent)) else 1


if __name__ == "__main__":
    sys.exit(main())
