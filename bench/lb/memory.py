"""What a load balancer remembers: memory and open sockets while more and more client addresses come by."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bench.lb.lb_testbed import LbTestbed
from bench.lb.peers.implementations import Implementation, started
from bench.lb.report.outcome import Outcome
from bench.lb.traffic.clients import Load, finish
from bench.lb.traffic.pool import Traffic

_SAMPLE_S = 0.5
_SIZE = 100
_KB = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """`addresses` is how many clients had been sent for; the kernel's figure is
    the whole machine's."""

    addresses: int
    resident_bytes: int
    open_files: int
    kernel_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryRun:
    """One implementation and its samples, the first before any client; `end` is its last word if it did not survive."""

    implementation: str
    addresses: int
    samples: list[Sample]
    outcome: Outcome
    end: str | None

    @property
    def late_growth_bytes(self) -> int:
        """How much resident memory grew after the first tenth of the addresses: bounded caches are full by then."""
        early = max(s.resident_bytes for s in self.samples if s.addresses <= self.addresses // 10)
        return self.samples[-1].resident_bytes - early

    @property
    def kernel_growth_bytes(self) -> int:
        """Of the whole machine: other processes blur it."""
        return self.samples[-1].kernel_bytes - self.samples[0].kernel_bytes


def remember(testbed: LbTestbed, implementation: Implementation, addresses: int, rate: float) -> MemoryRun:
    """Send one datagram from each of that many client addresses, at `rate` a second."""
    load = Load(
        _SIZE, 0.0, warmup_s=0.0, rate=rate, flows=addresses, is_sticky=not implementation.reads_cids, is_once=True
    )
    pool = testbed.pool()
    folder = testbed.folder / f"{implementation.name.replace(' ', '-')}-memory"
    with (
        testbed.backends(is_batched=True),
        started(implementation, pool, folder, testbed.cores.implementation) as processes,
    ):

        def sample(sent: float) -> Sample:
            used = [process.usage() for process in processes]
            resident, files = sum(u.resident_bytes for u in used), sum(u.open_files for u in used)
            return Sample(min(addresses, int(sent)), resident, files, _slab_bytes())

        samples = [sample(0)]
        begun = time.monotonic()
        with testbed.clients.started(pool.vip, testbed.templates[Traffic.PLAINTEXT], load) as generator:
            while generator.poll() is None:
                time.sleep(_SAMPLE_S)
                samples.append(sample((time.monotonic() - begun) * rate))
            outcome = finish(generator)
        samples.append(sample(addresses))
        end = None if all(process.is_alive for process in processes) else _last_words(processes[0].log)
    return MemoryRun(implementation.name, addresses, [s for s in samples if s.resident_bytes], outcome, end)


def _last_words(log: Path) -> str:
    """The line of a log that is most likely to say why a process ended."""
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if any(word in line for word in ("Caught", "assert", "rror"))]
    return (errors or lines or ["no word"])[0][-160:].strip()


def _slab_bytes() -> int:
    """What the kernel holds in slabs: sockets are kept there."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Slab:"):
            return int(line.split()[1]) * _KB
    return 0
