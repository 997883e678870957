"""The dashboard's and the alerts' queries in a real Prometheus that scrapes a cluster with calls."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.local.cluster import Cluster, ClusterOptions
from deploy.monitoring.dashboard import FILE, queries
from testbed.ports import free_port
from testbed.waiting import until
from voice_client import ConnectionOptions, Security, VoiceClient
from voice_client.audio.source import PcmSource

MONITORING = FILE.parent
NOT_A_NUMBER_WITHOUT = {
    "voice_resume_gap_seconds": "a resume",
    "voice_barge_in_seconds": "an interruption",
    "voice_interruption_seconds": "an interruption",
}
"""Histograms that no healthy call fills, so that their quantiles have no value here."""
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None and os.environ.get("STRICT") != "1",
    reason="Prometheus is not installed: make tools",
)


def alerts() -> Iterator[tuple[str, str]]:
    """Each alert, and its expression as a value that is there whether or not it fires."""
    for rule in re.finditer(r"- alert: (\w+)\n +expr: (.*)\n", (MONITORING / "alerts.yml").read_text()):
        value, count = re.subn(r" (==|<|>) ([0-9.e-]+)$", r" \1 bool \2", rule[2])
        assert count == 1, f"{rule[1]} does not end with one comparison"
        yield rule[1], value


@asynccontextmanager
async def prometheus(folder: Path, cluster: Cluster) -> AsyncIterator[str]:
    """Scrape the cluster four times a second; yield the server's URL."""
    text = (MONITORING / "prometheus.yml").read_text().replace("10s", "250ms")
    workers = json.dumps(cluster.addresses.worker_admin)
    text = text.replace('["127.0.0.1:9090"]', workers).replace(
        '"127.0.0.1:9100"', f'"{cluster.addresses.balancer_metrics}"'
    )
    (folder / "prometheus.yml").write_text(text)
    shutil.copy(MONITORING / "alerts.yml", folder)
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)  # noqa: ASYNC220 - it returns at once
    try:
        await until(lambda: "Server is ready" in (folder / "log").read_text(), "Prometheus is ready")
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()


def ask(url: str, path: str, **parameters: str) -> Any:
    asked = f"{url}{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310 - loopback
        return json.loads(answer.read())["data"]


def values(url: str, query: str) -> list[float]:
    """What the query returns now, with the variables of the dashboard filled in."""
    filled = query.replace("$__rate_interval", "1m").replace("$worker", ".*").replace("$balancer", ".*")
    return [float(each["value"][1]) for each in ask(url, "/api/v1/query", query=filled)["result"]]


async def call(cluster: Cluster, local: str) -> None:
    """Say two words, each of which is answered, from two addresses."""
    noise = np.random.default_rng(7).normal(0, 4000, 8_000).clip(-32768, 32767).astype("<i2").tobytes()
    word = noise + bytes(2 * 16_000)
    async with VoiceClient(
        cluster.url,
        security=Security(ca_file=cluster.ca_file),
        connection=ConnectionOptions(resume_timeout_s=0),
    ) as client:
        await client.speak(PcmSource(word))
        await client.migrate(local)
        await client.speak(PcmSource(word))
        await client.listen(grace_s=0.5)
        await client.finish()
    assert client.report().is_complete


@needs_prometheus
async def test_every_query_of_dashboard_and_alerts_has_a_result_in_a_live_cluster(tmp_path: Path) -> None:
    options = ClusterOptions(agent="echo", balancer_processes=2)
    async with Cluster(options) as cluster, prometheus(tmp_path, cluster) as url:
        targets = len(cluster.addresses.worker_admin) + 1
        await until(lambda: sum(values(url, "up")) == targets, "all targets are scraped")
        await asyncio.gather(call(cluster, "127.0.0.3"), call(cluster, "127.0.0.4"))
        await until(lambda: sum(values(url, "sum(voice_sessions_ended_total)")) == 2, "the end of the calls is scraped")
        known = set(ask(url, "/api/v1/label/__name__/values")) | declared(url)
        found = {(title, query): values(url, query) for title, query in (*queries(), *alerts())}
        rules = ask(url, "/api/v1/rules")["groups"]
    names = {name for _, query in found for name in re.findall(r"\b(?:voice|quic|quiclb|web|process)_\w+", query)}
    assert {name for name in names if name not in known} == set()
    assert [key for key, result in found.items() if not result] == []
    unexplained = [
        (title, query)
        for (title, query), result in found.items()
        if all(math.isnan(value) for value in result) and not any(each in query for each in NOT_A_NUMBER_WITHOUT)
    ]
    assert unexplained == []
    assert {rule["health"] for group in rules for rule in group["rules"]} == {"ok"}
    assert [rule["name"] for group in rules for rule in group["rules"] if rule["state"] == "firing"] == []
    assert undocumented(known) == set()


def declared(url: str) -> set[str]:
    """The names of metrics that are announced, also those without a value yet."""
    return {
        name if facts[0]["type"] != "histogram" else f"{name}_bucket"
        for name, facts in ask(url, "/api/v1/metadata").items()
    }


def undocumented(names: set[str]) -> set[str]:
    """Those of our metrics that the page about metrics does not name."""
    page = (MONITORING / "README.md").read_text()
    families = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in names}
    return {
        name for name in families if re.match(r"(voice|quic|quiclb|web|telephony)_", name) and f"`{name}`" not in page
    }


def test_a_query_without_result_would_be_found() -> None:
    """The control: names are read from queries, and a comparison is made a value."""
    assert dict(alerts())["VoiceWorkerDown"] == 'up{job="voice-gateway"} == bool 0'
    assert undocumented({"voice_unheard_of_total", "process_open_fds"}) == {"voice_unheard_of_total"}
