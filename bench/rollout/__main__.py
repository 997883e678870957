"""A rolling update of four workers of the Helm chart under live calls, watched by a Prometheus.

Four workers, two load balancers and the bundled Redis run as processes on loopback, with the command lines, variables
and files that `helm template` renders. While callers talk, each worker leaves the DNS, sleeps as its `preStop` hook
says, drains at SIGTERM, and starts again at another address. A Prometheus scrapes the jobs of the rendered
ServiceMonitor, and the dashboard's queries are asked all the while; so are the pages that probes and operators ask for.
A lost session, word or frame, a query that never has a value, or an alert ends the bench with an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from bench.rollout.callers import Outcome, Plan
from bench.rollout.pods import Deployment, PodError
from bench.rollout.prometheus import Evaluations, Prometheus, prometheus
from bench.rollout.report import Rollout, write
from deploy.local.cluster import ROOT
from testbed.kubernetes.chart import ChartError, RenderedChart
from voice_gateway.access.keys import signing_key
from voice_gateway.access.tokens import mint

CHART = ROOT / "deploy" / "helm" / "voice-gateway"
WORKERS, BALANCERS = 4, 2
ASK_EVERY_S = 1.0
EVALUATE_EVERY_S = 10.0
_PAGES = ("/readyz", "/metrics", "/sessions")
_CALLERS_TIMEOUT_S = 240.0
_SCRAPED_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How many calls, how often each says a word, and the values of the chart that are not its defaults."""

    calls: int
    every_s: float
    scrape: str
    values: tuple[str, ...] = ()


FULL = Scale(100, 12.0, "5s")
QUICK = Scale(
    20,
    4.0,
    "1s",
    (
        "workers.drain.preStopSeconds=4",
        "workers.drain.timeoutSeconds=10",
        "workers.minReadySeconds=1",
    ),
)


def render(scale: Scale, network: str) -> RenderedChart:
    """Render the chart for this machine; raises `ChartError`."""
    helm = shutil.which("helm", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if helm is None:
        raise ChartError("helm is not installed: `make bench-rollout` installs it")
    proxies = ",".join(f"{network}.0.{2 + number}" for number in range(BALANCERS))
    values = (
        *("keys.secretName=voice-keys", "tls.secretName=voice-tls"),
        *("access.secretName=voice-access", "access.keyFiles={production.key}"),
        f"workers.trustedProxies={{{proxies}}}",
        *(f"workers.replicas={WORKERS}", f"balancers.replicas={BALANCERS}", "workers.agent=echo"),
        *("serviceMonitor.enabled=true", f"serviceMonitor.interval={scale.scrape}"),
        *scale.values,
    )
    return RenderedChart.render(helm, CHART, "voice", [f"--set={','.join(values)}", "--namespace=calls"])


class Watcher:
    """Asks the pages of all pods once a second, and the dashboard's queries every ten."""

    def __init__(self, deployment: Deployment, server: Prometheus) -> None:
        self.answers_ms: defaultdict[str, list[float]] = defaultdict(list)
        self.unanswered: Counter[str] = Counter()
        self.evaluations = Evaluations()
        self._deployment = deployment
        self._server = server

    async def ask(self) -> None:
        while True:
            self._server.follow(self._deployment, [*self._deployment.workers, *self._deployment.balancers])
            ready = [pod for pod in self._deployment.workers if pod.is_ready]
            for pod in ready:
                for path in _PAGES:
                    await self._ask(f"worker {path}", self._deployment.url(pod, "metrics", path))
            for pod in self._deployment.balancers:
                await self._ask("load balancer /metrics", self._deployment.url(pod, "metrics", "/metrics"))
            await asyncio.sleep(ASK_EVERY_S)

    async def until_scraped(self) -> None:
        """Return once every pod was scraped, and often enough for a rate."""
        pods = len(self._deployment.workers) + len(self._deployment.balancers)
        deadline = time.monotonic() + _SCRAPED_TIMEOUT_S
        while await asyncio.to_thread(self._server.up) < pods:
            if time.monotonic() > deadline:
                raise PodError("Prometheus does not reach every pod")
            await asyncio.sleep(ASK_EVERY_S)
        await asyncio.sleep(3 * self._server.interval_s)

    async def evaluate(self) -> None:
        while True:
            await asyncio.to_thread(self._server.evaluate, self.evaluations)
            await asyncio.sleep(EVALUATE_EVERY_S)

    async def _ask(self, name: str, url: str) -> None:
        took_ms = await asyncio.to_thread(_answer_ms, url)
        if took_ms is None:
            self.unanswered[name] += 1
        else:
            self.answers_ms[name].append(took_ms)


def _answer_ms(url: str) -> float | None:
    began = time.monotonic()
    with suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - loopback
        answer.read()
        return (time.monotonic() - began) * 1000
    return None


async def measure(scale: Scale, keep: Path | None) -> Rollout:
    """Install, call, update, and return what came of it; logs are copied to `keep`."""
    network = f"127.{64 + os.getpid() % 128}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            async with Deployment(render(scale, network), folder, network) as deployment:
                address = f"{network}.0.201:9090"
                async with prometheus(folder / "prometheus", address, scale.scrape) as server:
                    return await _update(scale, deployment, server, folder)
        finally:
            if keep is not None:
                shutil.copytree(folder, keep, dirs_exist_ok=True)


async def _update(scale: Scale, deployment: Deployment, server: Prometheus, folder: Path) -> Rollout:
    watcher = Watcher(deployment, server)
    asking = asyncio.create_task(watcher.ask())
    callers = await _call(scale, deployment, folder)
    await watcher.until_scraped()
    evaluating = asyncio.create_task(watcher.evaluate())
    began = time.monotonic()
    failed_probes, ended_s = 0, []
    try:
        for ordinal in reversed(range(deployment.replicas)):
            before = deployment.workers[ordinal]
            ended_s.append(await deployment.replace(ordinal))
            failed_probes += before.failed_probes
        seconds = time.monotonic() - began
        await asyncio.sleep(scale.every_s)
        if callers.returncode is None:
            callers.terminate()
        await asyncio.wait_for(callers.wait(), _CALLERS_TIMEOUT_S)
    finally:
        for task in (asking, evaluating):
            task.cancel()
        if callers.returncode is None:
            callers.kill()
            await callers.wait()
    failed = [each for each in await asyncio.gather(asking, evaluating, return_exceptions=True) if each]
    if failures := [each for each in failed if not isinstance(each, asyncio.CancelledError)]:
        raise ExceptionGroup("the watcher failed", [each for each in failures if isinstance(each, Exception)])
    result = json.loads((folder / "calls.json").read_text())
    return Rollout(
        workers=deployment.replicas,
        balancers=len(deployment.balancers),
        seconds=seconds,
        ended_s=ended_s,
        outcomes=[Outcome(**each) for each in result["outcomes"]],
        caller_late_ms=result["late_ms"],
        answers_ms=watcher.answers_ms,
        unanswered=watcher.unanswered,
        failed_probes=failed_probes + sum(pod.failed_probes for pod in (*deployment.workers, *deployment.balancers)),
        evaluations=watcher.evaluations,
    )


async def _call(scale: Scale, deployment: Deployment, folder: Path) -> asyncio.subprocess.Process:
    """Start the callers, and return once all of them talk."""
    key = signing_key(deployment.access_key.stem, deployment.access_key.read_text())
    tokens = [mint(key, subject=f"caller-{number}", now=time.time(), lifetime_s=3600) for number in range(scale.calls)]
    urls = [f"https://{pod.address}:4433/v1/voice" for pod in deployment.balancers]
    plan = Plan(urls, str(deployment.ca_file), tokens, f"{deployment.network}.2", scale.every_s)
    path = folder / "plan.json"
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(asdict(plan)))
    callers = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.rollout.callers", str(path), str(folder / "calls.json")),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    if callers.stdout is None or await callers.stdout.readline() != b"ready\n":
        raise PodError("the callers ended before they talked")
    return callers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 calls and shorter pauses, in 90 s")
    parser.add_argument("--keep", type=Path, help="a folder to copy logs and settings to")
    arguments = parser.parse_args()
    try:
        result = asyncio.run(measure(QUICK if arguments.quick else FULL, arguments.keep))
    except (ChartError, PodError) as error:
        raise SystemExit(str(error)) from None
    write(result, is_quick=arguments.quick)
    return 1 if result.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
