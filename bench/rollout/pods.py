"""The chart's pods as processes on loopback, each with an address of its own, and what a kubelet does for them.

Command lines, variables and files are those of the rendered manifests. Changed is what a pod's own network would be:
the wildcard address becomes the pod's, and a mount namespace puts a file with names in place of /etc/hosts.
A worker's name is in it while its readiness probe succeeds and it is not being ended, as in a cluster's DNS.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.kubernetes.chart import MOUNTED, RenderedChart
from testbed.redis_server import program
from voice_gateway.certificates.development import ensure_certificate

_IN_NAMESPACE = 'mount --bind "$HOSTS_FILE" /etc/hosts && exec "$@"'
_LOG_SHOWN = 2000
_POLL_S = 0.1
START_TIMEOUT_S = 120.0


class PodError(Exception):
    """A pod does not come up, or this machine cannot run one; the message says why."""


@dataclass(slots=True)
class Names:
    """The file that stands for the cluster's DNS. It is replaced by one write, so that no reader sees half of it."""

    path: Path
    _addresses: dict[str, str] = field(default_factory=dict)
    _hidden: set[str] = field(default_factory=set)

    def put(self, name: str, address: str) -> None:
        """Add or change a name; it is hidden until `show`."""
        self._addresses[name] = address
        self._hidden.add(name)

    def show(self, name: str) -> None:
        self._hidden.discard(name)
        self._write()

    def hide(self, name: str) -> None:
        self._hidden.add(name)
        self._write()

    def _write(self) -> None:
        lines = ["127.0.0.1 localhost"]
        lines += [f"{'#' if name in self._hidden else ' '}{at:<15} {name}" for name, at in self._addresses.items()]
        data = ("\n".join(lines) + "\n").encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, data, 0)
            os.ftruncate(descriptor, len(data))
        finally:
            os.close(descriptor)


@dataclass(slots=True)
class Pod:
    """One pod: its component and ordinal, its address, and its process once it was started."""

    component: str
    ordinal: int
    address: str
    folder: Path
    process: asyncio.subprocess.Process | None = None
    probes: asyncio.Task[None] | None = None
    is_ready: bool = False
    failed_probes: int = 0

    @property
    def pid(self) -> int:
        if self.process is None:
            raise PodError(f"{self.component}-{self.ordinal} does not run")
        return self.process.pid

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


class Deployment:
    """Everything that the chart installs; use as `async with`. `network` are the first two parts of its addresses."""

    def __init__(self, chart: RenderedChart, folder: Path, network: str) -> None:
        self.chart = chart
        self.folder = folder
        self.network = network
        self.names = Names(folder / "hosts")
        self.workers: list[Pod] = []
        self.balancers: list[Pod] = []
        self._redis: Pod | None = None
        self._started = 0
        self._secret: dict[str, str] = {}
        manifest = chart.find("StatefulSet", f"{chart.name}-worker")
        self._namespace = _namespace(chart)
        self._service = manifest["spec"]["serviceName"]
        self.min_ready_s = float(manifest["spec"]["minReadySeconds"])
        self.replicas = int(manifest["spec"]["replicas"])

    @property
    def ca_file(self) -> Path:
        return self.folder / "certificate" / "ca.pem"

    @property
    def access_key(self) -> Path:
        """What signs access tokens."""
        return self.folder / "production.key"

    async def __aenter__(self) -> Deployment:
        balancers = self.chart.find("Deployment", f"{self.chart.name}-balancer")["spec"]["replicas"]
        addresses = [f"{self.network}.0.{2 + number}" for number in range(balancers)]
        self._secret = self._secrets(addresses)
        try:
            await self._start_redis()
            self.workers = [self._pod("worker", number) for number in range(self.replicas)]
            await asyncio.gather(*map(self._start, self.workers))
            await asyncio.gather(*map(self.until_ready, self.workers))
            self.balancers = [self._pod("balancer", n, address) for n, address in enumerate(addresses)]
            await asyncio.gather(*map(self._start, self.balancers))
            await asyncio.gather(*map(self.until_ready, self.balancers))
            await asyncio.gather(*(self._until_workers_found(balancer) for balancer in self.balancers))
        except BaseException:
            await self._end_all()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end_all()

    async def replace(self, ordinal: int) -> float:
        """Replace a worker as a StatefulSet's rolling update does, and return how long it took to end, in seconds.

        The pod leaves the DNS, sleeps as `preStop` says, gets SIGTERM, and SIGKILL after its grace period. Its
        replacement has another address. Returns once that one was ready for `minReadySeconds`.
        """
        pod = self.workers[ordinal]
        spec = self._spec("worker")
        began = time.monotonic()
        self._stop_probes(pod)
        self.names.hide(self._name(ordinal))
        await asyncio.sleep(spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"])
        grace_s = spec["terminationGracePeriodSeconds"] - (time.monotonic() - began)
        await _end(pod, grace_s)
        took_s = time.monotonic() - began
        self.workers[ordinal] = replacement = self._pod("worker", ordinal)
        await self._start(replacement)
        await self.until_ready(replacement)
        await asyncio.sleep(self.min_ready_s)
        return took_s

    async def until_ready(self, pod: Pod) -> None:
        """Return once the pod's readiness probe has succeeded."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not pod.is_ready:
            if time.monotonic() > deadline or pod.process is None or pod.process.returncode is not None:
                raise PodError(f"{pod.component}-{pod.ordinal} is not ready: {pod.log()[-_LOG_SHOWN:].strip()}")
            await asyncio.sleep(_POLL_S)

    def url(self, pod: Pod, port: str, path: str) -> str:
        """Return the address of a page at one of a pod's named ports."""
        [container] = self._spec(pod.component)["containers"]
        [number] = [each["containerPort"] for each in container["ports"] if each["name"] == port]
        return f"http://{pod.address}:{number}{path}"

    def _secrets(self, balancers: list[str]) -> dict[str, str]:
        made = ensure_certificate(self.folder / "certificate", now=time.time(), hosts=balancers)
        self.access_key.touch(mode=0o600)
        self.access_key.write_text(secrets.token_hex(32))
        keys = {f"{name}.key": secrets.token_hex(32) for name in ("reset", "retry", "ticket", "store")}
        return {
            **keys,
            "quic-lb.key": secrets.token_hex(16),
            "redis-password": secrets.token_hex(16),
            "tls.crt": made.leaf.read_text(),
            "tls.key": made.key.read_text(),
            self.access_key.name: self.access_key.read_text(),
        }

    def _spec(self, component: str) -> dict[str, Any]:
        spec: dict[str, Any] = self.chart.pods()[component]["spec"]
        return spec

    def _name(self, ordinal: int) -> str:
        return f"{self.chart.name}-worker-{ordinal}.{self._service}.{self._namespace}.svc.cluster.local"

    def _pod(self, component: str, ordinal: int, address: str | None = None) -> Pod:
        if address is None:  # a worker's; each one that is started has another
            self._started += 1
            address = f"{self.network}.1.{self._started}"
            self.names.put(self._name(ordinal), address)
        folder = self.folder / f"{component}-{ordinal}-{address}"
        folder.mkdir()
        return Pod(component, ordinal, address, folder)

    async def _start(self, pod: Pod) -> None:
        [container] = self._spec(pod.component)["containers"]
        settings = self.chart.write_settings(pod.component, pod.folder, self._secret)
        settings.write_text(settings.read_text().replace("0.0.0.0", pod.address))  # noqa: S104 - it is replaced
        (pod.folder / "settings").mkdir()
        settings.rename(pod.folder / "settings" / settings.name)
        command = str(Path(sys.executable).with_name({"worker": "voice-gateway", "balancer": "quiclb"}[pod.component]))
        arguments = [each.replace(MOUNTED, str(pod.folder)) for each in container["args"]]
        environ = dict(self._environment(container, pod.ordinal))
        if pod.component == "balancer":  # which takes no clients on loopback by default
            environ["QUICLB_ALLOW_LOOPBACK_CLIENTS"] = "true"
        await self._execute(pod, [command, *arguments], environ)
        pod.probes = asyncio.create_task(self._probe(pod, container["readinessProbe"]))

    async def _start_redis(self) -> None:
        pod = self._redis = self._pod("redis", 0, f"{self.network}.0.200")
        [container] = self._spec("redis")["containers"]
        text = self.chart.find("ConfigMap", f"{self.chart.name}-redis")["data"]["redis.conf"]
        settings = pod.folder / "redis.conf"
        settings.write_text(f"{text.replace('dir /data', f'dir {pod.folder}')}bind {pod.address}\n")
        *shell, script = container["command"]
        script = script.replace("/etc/redis/redis.conf", str(settings)).replace("redis-server", program())
        self.names.put(f"{self.chart.name}-redis", pod.address)
        self.names.show(f"{self.chart.name}-redis")
        await self._execute(pod, [*shell, script], dict(self._environment(container, 0)))
        deadline = time.monotonic() + START_TIMEOUT_S
        while "Ready to accept connections" not in pod.log():
            if time.monotonic() > deadline or pod.process is None or pod.process.returncode is not None:
                raise PodError(f"redis does not start: {pod.log()[-_LOG_SHOWN:].strip()}")
            await asyncio.sleep(_POLL_S)

    def _environment(self, container: dict[str, Any], ordinal: int) -> Iterator[tuple[str, str]]:
        facts = {"metadata.name": f"{self.chart.name}-worker-{ordinal}"}
        facts["metadata.labels['apps.kubernetes.io/pod-index']"] = str(ordinal)
        password = self._secret["redis-password"]
        for entry in container.get("env", ()):
            source: Mapping[str, Any] = entry.get("valueFrom", {})
            path = source.get("fieldRef", {}).get("fieldPath")
            key = source.get("secretKeyRef", {}).get("key")
            value = facts[path] if path else self._secret[key] if key else entry["value"]
            yield entry["name"], value.replace("$(REDIS_PASSWORD)", password)

    async def _execute(self, pod: Pod, command: list[str], environ: dict[str, str]) -> None:
        inner = ["sh", "-c", _IN_NAMESPACE, "sh", *command]
        with (pod.folder / "log").open("ab") as log:
            pod.process = await asyncio.create_subprocess_exec(
                *("unshare", "--user", "--map-root-user", "--mount", *inner),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "HOSTS_FILE": str(self.names.path), **environ},
                start_new_session=True,
            )

    async def _probe(self, pod: Pod, probe: dict[str, Any]) -> None:
        """Ask for readiness as the kubelet does, and let the pod's name follow from the answers."""
        url = self.url(pod, probe["httpGet"]["port"], probe["httpGet"]["path"])
        failures = 0
        while True:
            if await asyncio.to_thread(_answers, url, probe["timeoutSeconds"]):
                failures = 0
                if not pod.is_ready:
                    pod.is_ready = True
                    if pod.component == "worker":
                        self.names.show(self._name(pod.ordinal))
            elif pod.is_ready:
                failures += 1
                pod.failed_probes += 1
                if failures >= probe.get("failureThreshold", 3):
                    pod.is_ready = False
                    if pod.component == "worker":
                        self.names.hide(self._name(pod.ordinal))
            await asyncio.sleep(probe["periodSeconds"])

    async def _until_workers_found(self, balancer: Pod) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        url = self.url(balancer, "metrics", "/metrics")
        while time.monotonic() < deadline:
            text = await asyncio.to_thread(_page, url)
            if text.count('health="up"') == self.replicas:
                return
            await asyncio.sleep(_POLL_S)
        raise PodError(f"balancer-{balancer.ordinal} does not find every worker: {balancer.log()[-_LOG_SHOWN:]}")

    @staticmethod
    def _stop_probes(pod: Pod) -> None:
        pod.is_ready = False
        if pod.probes is not None:
            pod.probes.cancel()

    async def _end_all(self) -> None:
        pods = [*self.workers, *self.balancers]
        for pod in pods:
            self._stop_probes(pod)
        await asyncio.gather(*(_end(pod, 10.0) for pod in pods))
        if self._redis is not None:  # the shell does not pass SIGTERM on
            await _end(self._redis, 10.0, whole_group=True)


def _namespace(chart: RenderedChart) -> str:
    """The namespace for which the settings were rendered."""
    text: str = chart.find("ConfigMap", f"{chart.name}-balancer")["data"]["lb.toml"]
    return text.partition(".svc.")[0].rpartition(".")[2]


async def _end(pod: Pod, grace_s: float, *, whole_group: bool = False) -> None:
    process = pod.process
    if process is None or process.returncode is not None:
        return
    if whole_group:
        os.killpg(process.pid, 15)
    else:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), grace_s)
    except TimeoutError:
        os.killpg(process.pid, 9)
        await process.wait()
    if whole_group:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)  # a Redis that cannot save does not end by SIGTERM


def _answers(url: str, timeout_s: float) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except OSError:
        return False


def _page(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback
            return str(answer.read().decode())
    except OSError:
        return ""
