"""A real Prometheus that scrapes what the chart's ServiceMonitor names, and asks what dashboard and alerts ask."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.rollout.pods import Deployment, Pod, PodError
from deploy.monitoring.dashboard import FILE, queries

_READY_TIMEOUT_S = 30.0
_RATE_SCRAPES = 4
"""Scrape intervals in what Grafana puts for `$__rate_interval`."""


@dataclass(slots=True)
class Evaluations:
    """What the dashboard's queries gave: how often each was asked, and how often it had no value, or only NaN."""

    asked: int = 0
    empty: Counter[str] = field(default_factory=Counter)
    nan: Counter[str] = field(default_factory=Counter)
    took_ms: list[float] = field(default_factory=list)
    firing: set[str] = field(default_factory=set)

    @property
    def queries(self) -> int:
        return len(list(queries()))

    @property
    def always_filled(self) -> int:
        """How many queries had a value each time, NaN included: a quantile of what did not happen has none."""
        return self.queries - len(self.empty)

    @property
    def never_filled(self) -> list[str]:
        return sorted(title for title, count in self.empty.items() if count == self.asked)


class Prometheus:
    """A running server; `targets` is rewritten as pods come and go."""

    def __init__(self, url: str, folder: Path, interval_s: float) -> None:
        self.url = url
        self._folder = folder
        self.interval_s = interval_s

    def follow(self, deployment: Deployment, pods: Iterable[Pod]) -> None:
        """Scrape these pods from now on, under the jobs that the rendered ServiceMonitor gives them."""
        scraped = deployment.chart.scraped()
        found = []
        for pod in pods:
            job, port = scraped[pod.component]
            target = urllib.parse.urlsplit(deployment.url(pod, port, "/")).netloc
            found.append({"targets": [target], "labels": {"job": job}})
        new = self._folder / "targets.new"
        new.write_text(json.dumps(found))
        new.replace(self._folder / "targets.json")

    def evaluate(self, into: Evaluations) -> None:
        """Ask every query of the dashboard once, and which alerts fire."""
        into.asked += 1
        for number, (title, query) in enumerate(queries()):
            began = time.monotonic()
            values = self._values(query)
            into.took_ms.append((time.monotonic() - began) * 1000)
            name = f"{number}: {title}"
            if not values:
                into.empty[name] += 1
            elif all(map(math.isnan, values)):
                into.nan[name] += 1
        alerts = self._ask("/api/v1/alerts")["alerts"]
        into.firing |= {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    def up(self) -> int:
        """How many targets the last scrapes reached."""
        return round(sum(self._values("sum(up)")))

    def _values(self, query: str) -> list[float]:
        interval = f"{max(10, round(_RATE_SCRAPES * self.interval_s))}s"
        filled = query.replace("$__rate_interval", interval).replace("$worker", ".*").replace("$balancer", ".*")
        return [float(each["value"][1]) for each in self._ask("/api/v1/query", query=filled)["result"]]

    def _ask(self, path: str, **parameters: str) -> Any:
        asked = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - loopback
            return json.loads(answer.read())["data"]


@asynccontextmanager
async def prometheus(folder: Path, address: str, interval: str) -> AsyncIterator[Prometheus]:
    """Run a server on `address` that scrapes every `interval`, such as 5s, and evaluates the alerts."""
    program = shutil.which("prometheus")
    if program is None:
        raise PodError("there is no Prometheus on this machine; on Debian: apt-get install prometheus")
    folder.mkdir()  # noqa: ASYNC240 - before anything runs
    shutil.copy(FILE.with_name("alerts.yml"), folder)
    settings = {
        "global": {"scrape_interval": interval, "evaluation_interval": interval},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [{"job_name": "pods", "file_sd_configs": [{"files": ["targets.json"]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(settings))  # which is YAML
    (folder / "targets.json").write_text("[]")
    command: Sequence[str] = (
        *(program, "--config.file=prometheus.yml", "--storage.tsdb.path=data"),
        f"--web.listen-address={address}",
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)  # noqa: ASYNC220 - it returns at once
    try:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while "Server is ready" not in (text := (folder / "log").read_text()):
            if time.monotonic() > deadline or process.poll() is not None:
                raise PodError(f"Prometheus does not start: {text[-2000:]}")
            await asyncio.sleep(0.1)
        yield Prometheus(f"http://{address}", folder, float(interval.removesuffix("s")))
    finally:
        process.terminate()
        process.wait()
