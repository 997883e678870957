"""The worker under attack, as a process, with the addresses and files that attackers need."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

ADDRESSES = ("quic", "websocket", "telephony", "admin")


@dataclass(frozen=True, slots=True)
class Target:
    """Where the worker listens, each as (host, port), and its files."""

    quic: tuple[str, int]
    websocket: tuple[str, int]
    telephony: tuple[str, int]
    admin: tuple[str, int]
    ca_file: str

    @property
    def url(self) -> str:
        """Where callers reach it."""
        return f"https://{self.quic[0]}:{self.quic[1]}/v1/voice"

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of_json(cls, text: str) -> Target:
        facts = json.loads(text)
        quic, websocket, telephony, admin = ((facts[key][0], facts[key][1]) for key in ADDRESSES)
        return cls(quic, websocket, telephony, admin, facts["ca_file"])


def counts(target: Target) -> dict[str, float]:
    """Return the worker's counters, each as it stands in `/metrics`."""
    connection = http.client.HTTPConnection(*target.admin, timeout=10)
    try:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    finally:
        connection.close()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples if name.partition("{")[0].endswith("_total")}


SETTINGS = """[worker]
name = "attacked"
listen = "127.0.0.1:0"

[tls]
certificate = "{certificates}/leaf.pem"
key = "{certificates}/leaf.key"

[agent]
name = "echo"

[admin]
listen = "127.0.0.1:0"

[websocket]
listen = "127.0.0.1:0"

[telephony]
listen = "127.0.0.1:0"
tls = false
"""


@contextmanager
def attacked_worker(folder: Path, certificates: Path, core: int) -> Iterator[tuple[Target, subprocess.Popen[str]]]:
    """Run a worker on `core`; its log is `worker.log` and its figures are `worker.jsonl`, both in `folder`."""
    settings = folder / "worker.toml"
    settings.write_text(SETTINGS.format(certificates=certificates.resolve()))
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.attacks.worker", str(settings), str(folder / "worker.jsonl"), str(core)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise RuntimeError(f"the worker did not start: {(folder / 'worker.log').read_text()[-2000:]}")
            facts = {**json.loads(line), "ca_file": str(certificates.resolve() / "ca.pem")}
            yield Target.of_json(json.dumps(facts)), process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
