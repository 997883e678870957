"""An agent of the gateway by its name, on a load balancer and two workers that are started for it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from voice_eval.drivers.base import Endpoint
from voice_eval.errors import EvalError
from voice_eval.targets.base import Strike, Target
from voice_eval.targets.program import Program

_VICTIM = 0
_DOWN_S = 1.0
_READY_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """Which agent, and what of it may be killed: `faults` adds agent hosts or a Redis where it names them."""

    agent: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    """Where the agent's module is, unless it is installed."""
    workers: int = 2
    faults: tuple[str, ...] = ()
    telephony_token: str | None = field(default=None, repr=False)
    """Has the workers take telephone calls that are signed with it."""


class ClusterTarget(Target):
    """`worker`, `balancer`, `host` (one of two agent hosts) and `store` (a Redis) can be killed."""

    def __init__(self, plan: ClusterPlan, options: Mapping[str, str] | None = None) -> None:
        try:
            from voice_gateway.testing.cluster import local_cluster
        except ImportError:
            raise EvalError("--agent runs it on this machine: pip install 'voice-eval[gateway]'") from None
        self._local_cluster = local_cluster
        self._plan = plan
        self._options = dict(options or {})
        self._folder = Path(tempfile.mkdtemp(prefix="voice-eval-"))
        self._hosts: list[Program] = []
        self._store: Program | None = None

    async def __aenter__(self) -> Self:
        environment = {} if self._plan.path is None else {"PYTHONPATH": _joined(self._plan.path)}
        hosts = await self._started_hosts(environment) if "host" in self._plan.faults else ()
        store = await self._started_store() if "store" in self._plan.faults else None
        options = self._local_cluster.ClusterOptions(
            workers=self._plan.workers,
            agent=self._plan.agent,
            agent_settings={} if hosts else self._plan.settings,
            agent_hosts=hosts,
            environment=environment,
            ready_timeout_s=_READY_S,
            store=store,
            twilio_auth_token=self._plan.telephony_token,
        )
        self._cluster = self._local_cluster.Cluster(options)
        try:
            await self._cluster.__aenter__()
            await self._cluster.until_healthy()
        except self._local_cluster.ClusterError as error:
            await self._end()
            raise EvalError(f"--agent {self._plan.agent}: {error}") from None
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cluster.stop()
        await self._end()

    @property
    def endpoint(self) -> Endpoint:
        if self._plan.telephony_token is None:
            return Endpoint(self._cluster.url, ca_file=self._cluster.ca_file, options=self._options)
        page = f"http://{self._cluster.addresses.worker_telephony[_VICTIM]}/twiml"
        return Endpoint(page, token=self._plan.telephony_token, options=self._options)

    @property
    def faults(self) -> dict[str, Strike]:
        found: dict[str, Strike] = {"worker": self._kill_worker, "balancer": self._kill_balancer}
        if self._hosts:
            found["host"] = self._hosts[0].restart
        if self._store is not None:
            found["store"] = self._store.restart
        return found

    def victim(self, fault: str) -> str | None:
        return f"worker-{_VICTIM + 1}" if fault == "worker" and self._plan.telephony_token is None else None

    async def _kill_worker(self) -> None:
        await self._cluster.kill_worker(_VICTIM)
        await asyncio.sleep(_DOWN_S)
        await self._cluster.start_worker(_VICTIM)

    async def _kill_balancer(self) -> None:
        await self._cluster.kill_balancer()
        await asyncio.sleep(_DOWN_S)
        await self._cluster.start_balancer()

    async def _started_hosts(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        settings = []
        if self._plan.settings:
            file = self._folder / "agent.toml"
            file.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in self._plan.settings.items()))
            settings = ["--settings", str(file)]
        addresses = [f"unix:{self._folder / f'agents-{number}.sock'}" for number in (1, 2)]
        command = [str(Path(sys.executable).with_name("voice-gateway")), "agent", "run", self._plan.agent, *settings]
        self._hosts = [
            Program([*command, "--listen", each], self._folder / f"host-{number}.log", environment, down_s=_DOWN_S)
            for number, each in enumerate(addresses, 1)
        ]
        for host in self._hosts:
            await host.start()
        return tuple(addresses)

    async def _started_store(self) -> str:
        program = shutil.which("redis-server")
        if program is None:
            raise EvalError("--faults store needs redis-server: apt-get install redis-server, or leave the fault out")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", ""]
        options += ["--appendonly", "yes", "--appendfsync", "always"]
        self._store = Program([program, *options], self._folder / "redis.log", {}, down_s=_DOWN_S)
        await self._store.start(("127.0.0.1", port))
        return f"redis://127.0.0.1:{port}/0"

    async def _end(self) -> None:
        for program in (*self._hosts, *([self._store] if self._store else [])):
            await program.stop()
        with suppress(OSError):
            shutil.rmtree(self._folder)


def _joined(path: Path) -> str:
    former = os.environ.get("PYTHONPATH")
    return str(path.resolve()) if not former else f"{path.resolve()}{os.pathsep}{former}"


def _toml(value: Any) -> str:
    return json.dumps(value)
