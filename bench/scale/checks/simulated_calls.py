"""Calls through the production code on simulated hosts: where they land, what they save, and their datagrams."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unittest import mock

import numpy as np
import structlog

from quiclb.net.address import Address
from quiclb.routing.fallback import Maglev
from quiclb.routing.pool import Backend
from testbed.calls.simulated_cluster import VIP, Plan, SimulatedCluster, make_certificate
from testbed.simnet.network import Network
from testbed.simulation import Simulation, simulate
from voice_client.call.report import CallReport
from voice_gateway.agents.echo import EchoAgent
from voice_gateway.store.base import SessionRecord
from voice_gateway.store.encoding import RecordCodec
from voice_gateway.store.implementations.memory import MemoryStore

RATE_HZ: Final = 16_000
_SETTLE_S: Final = 5.0
"""After a call: its last datagrams have arrived."""
_TRACED: Final = re.compile(r"(?P<source>\S+) -> (?P<target>\S+) (?P<size>\d+) ")


@dataclass(frozen=True, slots=True)
class SimulatedCalls:
    """What `calls` calls of `seconds` did.

    `placed` has (the worker that the table of this model names, the worker that the caller got) of each call, `moved`
    how many of the calls whose address changed would have another worker by their new address, and `kept` how many of
    the calls whose address changed stayed at theirs. `down_bytes` are UDP payload to callers. `record_bytes` has
    (turns, bytes) of each save.
    """

    calls: int
    seconds: float
    turns: int
    saves: int
    up_datagrams: int
    down_datagrams: int
    up_bytes: int
    down_bytes: int
    placed: tuple[tuple[str, str], ...]
    rebound: int
    moved: int
    kept: int
    record_bytes: tuple[tuple[int, int], ...]

    @property
    def session_seconds(self) -> float:
        return self.calls * self.seconds


@dataclass(frozen=True, slots=True)
class Pattern:
    """How each caller talks: noise, then silence, in which the echo answers; by default as in `make bench-capacity`."""

    talk_s: float = 2.0
    pause_s: float = 3.0

    @property
    def period_s(self) -> float:
        return self.talk_s + self.pause_s


def run(
    calls: int, periods: int, pattern: Pattern = Pattern(), *, workers: int = 2, balancers: int = 1, seed: int = 1
) -> SimulatedCalls:
    """Place `calls` calls of `periods` periods of talk and pause; every second one changes its address midway."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name, structlog.testing.capture_logs():
        certificate = make_certificate(Path(name))
        plan = Plan(workers=workers, balancers=balancers)
        found, _ = simulate(
            lambda sim: _calls(
                sim, SimulatedCluster(sim, certificate, lambda _: EchoAgent(), plan), calls, periods, pattern
            ),
            seed=seed,
            limit_s=600.0,
        )
    return found


def kill_workers(calls: int, *, workers: int = 3, seed: int = 1) -> list[float]:
    """Kill the worker of each call in mid-speech; return how long each call stood still, in ms."""
    with tempfile.TemporaryDirectory(prefix="scale-") as name, structlog.testing.capture_logs():
        certificate = make_certificate(Path(name))
        plan = Plan(workers=workers)
        found, _ = simulate(
            lambda sim: _killed(sim, SimulatedCluster(sim, certificate, lambda _: EchoAgent(), plan), calls),
            seed=seed,
            limit_s=600.0,
        )
    return found


async def _killed(sim: Simulation, cluster: SimulatedCluster, calls: int) -> list[float]:
    rng, gaps_ms = np.random.default_rng(sim.seed), list[float]()
    await cluster.start()
    for _ in range(calls):
        report = await cluster.caller.run(_killed_call(cluster, _period(rng, Pattern()), float(rng.uniform(0.2, 1.8))))
        gaps_ms += [each.gap_ms for each in report.resumes]
        for number, host in enumerate(cluster.worker_hosts):
            if not host.open_ports():
                await cluster.start_worker(number)
        await asyncio.sleep(_SETTLE_S)
    await cluster.stop()
    return gaps_ms


async def _killed_call(cluster: SimulatedCluster, sound: bytes, at_s: float) -> CallReport:
    async with cluster.client(has_playback=False) as client:
        split = 2 * round(at_s * RATE_HZ)
        await client.speak(sound[:split])
        cluster.sim.network.hosts[str(client.worker)].kill()
        await client.speak(sound[split:])
        await client.finish()
        return client.report()


class _Meter:
    """Counts what crosses the public side of the load balancers, and what is saved, while `is_on`."""

    def __init__(self) -> None:
        self.is_on = False
        self.up = self.down = self.up_bytes = self.down_bytes = self.saves = 0
        self.records: list[tuple[int, int]] = []
        self.sources: dict[Address, None] = {}
        self._codec = RecordCodec()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch every simulated network and every store in memory."""
        note, save = Network.note, MemoryStore.save

        def noted(network: Network, event: str, detail: str) -> None:
            note(network, event, detail)
            if event == "received":
                self._count(detail)

        async def saved(store: MemoryStore, record: SessionRecord) -> None:
            await save(store, record)
            if self.is_on:
                self.saves += 1
                self.records.append((record.turn, len(self._codec.encode(record))))

        with mock.patch.object(Network, "note", noted), mock.patch.object(MemoryStore, "save", saved):
            yield

    def _count(self, datagram: str) -> None:
        """Take the trace's text of a datagram."""
        found = _TRACED.match(datagram)
        if found is None:
            return
        source, target, size = found["source"], found["target"], int(found["size"])
        if target == f"{VIP}:443":
            host, _, port = source.rpartition(":")
            self.sources.setdefault((host, int(port)))
            self.up += self.is_on
            self.up_bytes += size * self.is_on
        elif source == f"{VIP}:443":
            self.down += self.is_on
            self.down_bytes += size * self.is_on


async def _calls(
    sim: Simulation, cluster: SimulatedCluster, calls: int, periods: int, pattern: Pattern
) -> SimulatedCalls:
    meter = _Meter()
    names = [f"worker-{number}" for number in range(cluster.plan.workers)]
    table = Maglev([Backend(name, ("10.2.0.1", 7000 + at)) for at, name in enumerate(names)])
    rng = np.random.default_rng(sim.seed)
    placed: list[tuple[str, str]] = []
    rebound = moved = kept = turns = 0
    with meter.watching():
        await cluster.start()
        for number in range(calls):  # one after the other: all come from one host, behind one address translator
            await asyncio.sleep(_SETTLE_S)
            meter.sources.clear()
            sounds = [_period(rng, pattern) for _ in range(periods)]
            report = await cluster.caller.run(_call(cluster, meter, sounds, is_moving=number % 2 == 1))
            first, *later = [_named(table, source) for source in meter.sources]
            placed.append((first, str(report.worker)))
            turns += sum(line.role == "user" and line.is_final for line in report.transcript)
            rebound += bool(later)
            moved += bool(later) and later[-1] != first
            kept += bool(later) and not report.resumes
        await cluster.stop()
    return SimulatedCalls(
        calls, periods * pattern.period_s, turns, meter.saves, meter.up, meter.down, meter.up_bytes,
        meter.down_bytes, tuple(placed), rebound, moved, kept, tuple(meter.records),
    )  # fmt: skip


async def _call(cluster: SimulatedCluster, meter: _Meter, sounds: Sequence[bytes], *, is_moving: bool) -> CallReport:
    async with cluster.client(has_playback=False) as client:
        meter.is_on = True
        for number, sound in enumerate(sounds):
            if is_moving and number == len(sounds) // 2:
                cluster.nat.rebind()
            await client.speak(sound)
        meter.is_on = False
        await client.finish()
        return client.report()


def _period(rng: np.random.Generator, pattern: Pattern) -> bytes:
    """Noise as loud as speech, then silence."""
    voice = rng.normal(0, 4_000, round(pattern.talk_s * RATE_HZ)).clip(-32_768, 32_767).astype("<i2")
    return voice.tobytes() + bytes(2 * round(pattern.pause_s * RATE_HZ))


def _named(table: Maglev, client: Address) -> str:
    backend = table.lookup(client, (VIP, 443))
    assert backend is not None
    return backend.name
