"""A load balancer and its workers on this machine, each a process of its own, to call, kill and restart.

It needs the commands `quiclb` and `voice-gateway` beside the interpreter that runs it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.testing.cluster.configuration import (
    Addresses,
    AgentTable,
    Secrets,
    balancer_toml,
    worker_name,
    worker_toml,
)

_FIRST_PORT, _BLOCKS, _BLOCK_PORTS = 25_000, 100, 70
"""Ports below those that the kernel gives to sockets that ask for none.

Each process has a block of them, so that no cluster of another takes one that is not bound yet.
"""
_offsets = itertools.count(secrets.randbelow(_BLOCK_PORTS))
_BALANCER = "load-balancer"


class ClusterError(Exception):
    """A process of the cluster did not come up; the message ends with what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """What kind of cluster to run; `port` None picks a free one."""

    workers: int = 2
    agent: str = "order"
    agent_settings: Mapping[str, Any] = field(default_factory=dict)
    """`[agent.settings]`: text, numbers, truth values and lists of them."""
    agent_hosts: tuple[str, ...] = ()
    """Addresses of agent hosts, which have the agent then."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the processes beyond those of this one, such as PYTHONPATH."""
    certificates: Path | None = None
    """A folder with `ca.pem`, `leaf.pem` and `leaf.key`; without one they are made for 127.0.0.1 and `host`."""
    ready_timeout_s: float = 30.0
    """How long a process may take to come up."""
    port: int | None = None
    host: str = "127.0.0.1"
    token: str | None = None
    has_signed_tokens: bool = False
    """Whether callers need a token that `Cluster.access_key`, a file, has signed."""
    has_routable_cids: bool = True
    store: str | None = None
    """A session store's address; without one, a SQLite file in the cluster's folder that all workers share."""
    drain_timeout_s: float = 5.0
    twilio_auth_token: str | None = None
    """Signs the requests of telephone calls; without one the workers take none."""
    balancer_processes: int = 1
    has_page: bool = False
    """Whether the workers serve the browser page too."""
    page_port: int | None = None
    page_calls: str | None = None
    """The `host:port` that the page calls in place of the load balancer itself."""
    demo_port: int | None = None
    """Port of the page's incidents (`deploy.local.incidents`); without one the page shows no buttons for them."""


@dataclass(slots=True)
class _Process:
    name: str
    command: list[str]
    log: Path
    handle: asyncio.subprocess.Process | None = None


@dataclass(slots=True)
class Cluster:
    """Use as `async with Cluster(options) as cluster:`; every process is gone at its end."""

    options: ClusterOptions = field(default_factory=ClusterOptions)
    folder: Path = field(init=False)
    addresses: Addresses = field(init=False)
    _balancer: _Process = field(init=False)
    _workers: list[_Process] = field(init=False)
    _keeps_folder: bool = False

    async def __aenter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="voice-cluster-"))
        self.addresses = _free_addresses(self.options)
        if self.options.certificates is None:
            ensure_certificate(self.certificates, now=time.time(), hosts=(self.options.host,))
        keys = Secrets(
            quic_lb_key=secrets.token_hex(16),
            retry_key=secrets.token_hex(32),
            ticket_key=secrets.token_hex(32),
            reset_key=secrets.token_hex(32),
            token=self.options.token,
            twilio=self.options.twilio_auth_token,
        )
        keys.write(self.folder)
        self._balancer = self._process(
            _BALANCER, "quiclb", balancer_toml(self.addresses, self.options.balancer_processes)
        )
        self._workers = [
            self._process(
                worker_name(index),
                "voice-gateway",
                worker_toml(
                    index,
                    self.addresses,
                    keys,
                    certificates=self.certificates,
                    agent=AgentTable(self.options.agent, self.options.agent_settings, self.options.agent_hosts),
                    access_key=self._access_key(),
                    has_routable_cids=self.options.has_routable_cids,
                    store=self.options.store or f"sqlite:///{self.folder / 'sessions.db'}",
                    drain_timeout_s=self.options.drain_timeout_s,
                ),
            )
            for index in range(self.options.workers)
        ]
        try:
            await asyncio.gather(*(self.start_worker(i) for i in range(self.options.workers)))
            await self.start_balancer()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where a caller reaches the cluster."""
        return f"https://{self.addresses.listen}/v1/voice"

    @property
    def page_url(self) -> str:
        """Where a browser finds the page."""
        return f"http://{self.addresses.page}/"

    @property
    def certificates(self) -> Path:
        return self.options.certificates or self.folder / "certificates"

    @property
    def ca_file(self) -> Path:
        return self.certificates / "ca.pem"

    @property
    def access_key(self) -> Path:
        """The secret that signs access tokens, if any are needed: `voice-gateway token --key-file`."""
        return self.folder / "local.key"

    @property
    def balancer_config(self) -> Path:
        return self.folder / f"{_BALANCER}.toml"

    async def start_balancer(self) -> None:
        """Start the load balancer and return once it forwards."""
        await self._start(self._balancer)
        await self._until_ready(self._balancer, f"http://{self.addresses.balancer_metrics}/metrics")

    async def start_worker(self, index: int) -> None:
        """Start a worker and return once it takes sessions."""
        await self._start(self._workers[index])
        await self._until_ready(self._workers[index], f"http://{self.addresses.worker_admin[index]}/readyz")

    async def kill_balancer(self) -> None:
        """End the load balancer with SIGKILL and return once it is gone."""
        await _kill(self._balancer)

    async def kill_worker(self, index: int) -> None:
        """End a worker with SIGKILL and return once it is gone."""
        await _kill(self._workers[index])

    async def terminate_worker(self, index: int) -> int:
        """Ask a worker to stop with SIGTERM and return its exit status."""
        handle = self._workers[index].handle
        if handle is None:
            raise ClusterError(f"{self._workers[index].name} does not run")
        handle.terminate()
        return await handle.wait()

    async def until_healthy(self) -> None:
        """Return once the load balancer's probes have found every worker."""
        deadline = time.monotonic() + self.options.ready_timeout_s
        while time.monotonic() < deadline:
            with suppress(OSError):
                text = await asyncio.to_thread(_get, f"http://{self.addresses.balancer_metrics}/metrics")
                workers = [line for line in text.splitlines() if line.startswith("quiclb_backend_info{")]
                if all('health="up"' in line for line in workers):
                    return
            await asyncio.sleep(0.1)
        raise ClusterError("the load balancer does not find every worker healthy")

    def forwarding_processes(self) -> list[int]:
        """The processes that a load balancer of several has started, spares among them."""
        handle = self._balancer.handle
        if handle is None:
            raise ClusterError("the load balancer does not run")
        return [int(pid) for pid in Path(f"/proc/{handle.pid}/task/{handle.pid}/children").read_text().split()]

    def worker_pid(self, index: int) -> int:
        handle = self._workers[index].handle
        if handle is None:
            raise ClusterError(f"{self._workers[index].name} does not run")
        return handle.pid

    async def sessions(self) -> list[dict[str, Any]]:
        """What the workers say of their sessions, live and lately ended."""
        answers = await asyncio.gather(
            *(asyncio.to_thread(_get, f"http://{admin}/sessions") for admin in self.addresses.worker_admin)
        )
        documents = [json.loads(answer) for answer in answers]
        return [session for each in documents for session in each["sessions"] + each["ended"]]

    async def metrics(self, index: int) -> str:
        """A worker's metrics in Prometheus' text format."""
        return await asyncio.to_thread(_get, f"http://{self.addresses.worker_admin[index]}/metrics")

    def log(self, name: str) -> str:
        """What `load-balancer`, or a worker by its name, has logged so far."""
        return (self.folder / f"{name}.log").read_text()

    def keep_logs(self) -> Path:
        """Leave the cluster's folder behind when it stops, and say where it is."""
        self._keeps_folder = True
        return self.folder

    async def stop(self) -> None:
        """End every process, gracefully where it lets us, and remove the cluster's files."""
        await asyncio.gather(*(_stop(process) for process in (self._balancer, *self._workers)))
        if not self._keeps_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _access_key(self) -> Path | None:
        if not self.options.has_signed_tokens:
            return None
        if not self.access_key.exists():
            self.access_key.touch(mode=0o600)
            self.access_key.write_text(secrets.token_urlsafe(32))
        return self.access_key

    def _process(self, name: str, command: str, toml: str) -> _Process:
        config = self.folder / f"{name}.toml"
        config.touch(mode=0o600)
        config.write_text(toml)
        program = str(Path(sys.executable).with_name(command))
        return _Process(name, [program, "serve", "--config", str(config)], self.folder / f"{name}.log")

    async def _start(self, process: _Process) -> None:
        with process.log.open("ab") as log:
            process.handle = await asyncio.create_subprocess_exec(
                *process.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | dict(self.options.environment),
            )

    async def _until_ready(self, process: _Process, url: str) -> None:
        deadline = time.monotonic() + self.options.ready_timeout_s
        while time.monotonic() < deadline:
            if process.handle is not None and process.handle.returncode is not None:
                break
            try:
                await asyncio.to_thread(_get, url)
            except OSError:  # not there yet, or too busy to answer
                await asyncio.sleep(0.02)
            else:
                return
        raise ClusterError(f"{process.name} did not come up: {process.log.read_text()[-2000:].strip()}")


async def _kill(process: _Process) -> None:
    if process.handle is not None and process.handle.returncode is None:
        process.handle.kill()
        await process.handle.wait()


async def _stop(process: _Process) -> None:
    if process.handle is None or process.handle.returncode is not None:
        return
    process.handle.terminate()
    try:
        await asyncio.wait_for(process.handle.wait(), 5.0)
    except TimeoutError:
        await _kill(process)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10.0) as answer:  # noqa: S310 - the cluster's own loopback address
        return str(answer.read().decode())


def _free_addresses(options: ClusterOptions) -> Addresses:
    """Pick ports that are free now: all are held at once, so that no two are the same."""
    held: list[socket.socket] = []

    def free(kind: socket.SocketKind) -> str:
        held.append(socket.socket(socket.AF_INET, kind))
        tries = 0
        while True:
            block = (os.getpid() + tries // _BLOCK_PORTS) % _BLOCKS
            port = _FIRST_PORT + block * _BLOCK_PORTS + next(_offsets) % _BLOCK_PORTS
            tries += 1
            with suppress(OSError):
                held[-1].bind((options.host, port))
                return f"{options.host}:{port}"

    def chosen(port: int | None) -> str:
        return free(socket.SOCK_STREAM) if port is None else f"{options.host}:{port}"

    try:
        return Addresses(
            listen=f"{options.host}:{options.port}" if options.port else free(socket.SOCK_DGRAM),
            inner=free(socket.SOCK_DGRAM),
            balancer_metrics=free(socket.SOCK_STREAM),
            worker_inner=tuple(free(socket.SOCK_DGRAM) for _ in range(options.workers)),
            worker_admin=tuple(free(socket.SOCK_STREAM) for _ in range(options.workers)),
            worker_telephony=tuple(
                free(socket.SOCK_STREAM) for _ in range(options.workers if options.twilio_auth_token else 0)
            ),
            page_calls=options.page_calls,
            page=chosen(options.page_port) if options.has_page else None,
            demo=None if options.demo_port is None else f"{options.host}:{options.demo_port}",
        )
    finally:
        for each in held:
            each.close()
