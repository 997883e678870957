"""The images, run as the Helm chart's pods say, on an emulated network."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from testbed.containers.engine import Engine, EngineError
from testbed.containers.network import Hosts, ethernet
from testbed.redis_server import program
from tests.deployment.chart import NAMESPACE, pods, write_settings
from voice_gateway.certificates.development import ensure_certificate

NAME = "voice-voice-gateway"
VIP = "10.77.0.10"
ADDRESSES = {
    "caller": ["10.77.0.2", "10.77.0.3"],
    "balancer-0": [VIP],
    "worker-0": ["10.77.0.20"],
    "worker-1": ["10.77.0.21"],
    "redis": ["10.77.0.30"],
}
PASSWORD = "abcdef0123456789"
VARIANT = "images"
USER = 10_001
READY_TIMEOUT_S = 60.0


def until(holds: Callable[[], object], what: str, timeout_s: float = READY_TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The engine with the images of this tree in it."""
    wanted = ("buildah", "podman", "runc", "debootstrap", "ip")
    missing = [name for name in wanted if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        reason = f"images are run by root with {', '.join(missing) or 'the programs that are there'}: make test-images"
        if os.environ.get("STRICT") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    engine = Engine()
    engine.build()
    return engine


@dataclass(slots=True)
class Pods:
    """Containers that run as the chart's pods say, each on a host of its own."""

    engine: Engine
    hosts: Hosts
    folder: Path
    secret: dict[str, str]
    names: dict[str, str] = field(default_factory=dict)

    @property
    def ca_file(self) -> Path:
        return self.folder / "certificate" / "ca.pem"

    def start(self, host: str) -> None:
        """Run the container of a host: command, settings, variables and security as its pod has them."""
        component, _, ordinal = host.rpartition("-")
        pod = pods(VARIANT)[component]["spec"]
        [container] = pod["containers"]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        folder = self.folder / host
        folder.mkdir(exist_ok=True)
        settings = write_settings(VARIANT, component, folder, self.secret)
        settings.write_text(settings.read_text().replace(str(folder), "/etc/voice-gateway"))
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 0, USER)
            path.chmod(0o750 if path.is_dir() else 0o440)
        mounts = {"/etc/voice-gateway/settings": folder}
        mounts |= {f"/etc/voice-gateway/{each.name}": each for each in folder.iterdir() if each.is_dir()}
        name = self.names[host] = f"{self.hosts.names[host]}-container"
        self.engine.run(
            "podman", "run", "--detach", f"--name={name}", "--read-only", "--cap-drop=all", "--no-healthcheck",
            "--security-opt=no-new-privileges", f"--user={pod['securityContext']['runAsUser']}:{USER}",
            f"--network=ns:{self.hosts.path(host)}", f"--hostname={NAME}-{host}", "--no-hosts",
            f"--signature-policy={self.engine.folder / 'policy.json'}",
            *(["--tmpfs=/tmp:size=64m"] if any(each["name"] == "tmp" for each in pod["volumes"]) else []),
            f"--volume={self.folder / 'hosts'}:/etc/hosts:ro",
            f"--volume={self.folder / 'nsswitch.conf'}:/etc/nsswitch.conf:ro",
            *(f"--volume={source}:{target}:ro" for target, source in mounts.items()),
            *(f"--env={key}={value}" for key, value in self._environment(container, ordinal).items()),
            self.engine.image(component), *container["args"],
        )  # fmt: skip

    def stop(self, host: str, timeout_s: int = 60) -> None:
        """End a container as Kubernetes ends a pod, by SIGTERM first."""
        self.engine.run("podman", "stop", f"--time={timeout_s}", self.names[host])

    def kill(self, host: str) -> None:
        self.engine.run("podman", "kill", "--signal=KILL", self.names[host])

    def restart(self, host: str) -> None:
        self.engine.run("podman", "start", self.names[host])

    def execute(self, host: str, *command: str) -> str:
        return self.engine.run("podman", "exec", self.names[host], *command)

    def log(self, host: str) -> str:
        done = subprocess.run(
            ["podman", "logs", self.names[host]], env=self.engine.environment(), capture_output=True, text=True
        )
        return done.stdout + done.stderr

    def ask(self, host: str, page: str) -> Any:
        """Return what a page of a host's operators' port says, JSON taken apart; `None` without an answer."""
        port = 9100 if host.startswith("balancer") else 9090
        url = f"http://{ADDRESSES[host][0]}:{port}{page}"
        done = subprocess.run(self.hosts.command(host, "curl", "-sf", url), capture_output=True, text=True)
        if done.returncode:
            return None
        return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout

    def _environment(self, container: dict[str, Any], ordinal: str) -> dict[str, str]:
        environ: dict[str, str] = {}
        for entry in container.get("env", ()):
            source = entry.get("valueFrom", {})
            path = source.get("fieldRef", {}).get("fieldPath")
            facts = {"metadata.name": f"{NAME}-worker-{ordinal}"}
            facts["metadata.labels['apps.kubernetes.io/pod-index']"] = ordinal
            value = facts[path] if path else PASSWORD if "secretKeyRef" in source else entry["value"]
            environ[entry["name"]] = value.replace("$(REDIS_PASSWORD)", PASSWORD)
        return environ


@pytest.fixture
def cluster(engine: Engine, tmp_path: Path) -> Iterator[Pods]:
    """One load balancer and two workers in containers, a Redis beside them; all ready."""
    made = ensure_certificate(tmp_path / "certificate", now=time.time(), hosts=[VIP])
    secret = {name: os.urandom(32).hex() for name in ("reset.key", "retry.key", "ticket.key", "store.key")}
    secret |= {"quic-lb.key": os.urandom(16).hex(), "tls.crt": made.leaf.read_text(), "tls.key": made.key.read_text()}
    zone = f"{NAME}-workers.{NAMESPACE}.svc.cluster.local"
    lines = [f"{ADDRESSES[f'worker-{n}'][0]} {NAME}-worker-{n}.{zone} {NAME}-worker-{n}" for n in (0, 1)]
    lines += [f"{ADDRESSES['redis'][0]} {NAME}-redis", "127.0.0.1 localhost", f"{VIP} {NAME}-balancer-0"]
    (tmp_path / "hosts").write_text("\n".join(lines) + "\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: files\n")
    with ethernet(ADDRESSES) as hosts:
        running = Pods(engine, hosts, tmp_path, secret)
        redis = [program(), "--port", "6379", "--bind", "0.0.0.0", "--requirepass", PASSWORD, "--save", ""]
        server = subprocess.Popen(hosts.command("redis", *redis), cwd=tmp_path, stdout=subprocess.DEVNULL)
        try:
            for host in ("worker-0", "worker-1", "balancer-0"):
                running.start(host)
            for worker in ("worker-0", "worker-1"):
                until(lambda worker=worker: running.ask(worker, "/readyz"), f"{worker} is ready")  # type: ignore[misc]
            until(lambda: str(running.ask("balancer-0", "/metrics")).count('health="up"') == 2, "both workers are up")
            yield running
        finally:
            for name in running.names.values():
                with contextlib.suppress(EngineError):
                    engine.run("podman", "rm", "--force", "--time=0", name)
            server.kill()
            server.wait()
