"""Faults under load: what a load balancer of two processes loses, and that nothing goes astray.

`python -m bench.lb_faults [--seconds 6] [--rate 8000]` writes lb-faults.md and lb-faults.json under bench/results. It
exits with an error if any datagram was misdelivered.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.figures import save
from bench.lb_faults.daemon import Daemon, children_of
from bench.lb_faults.traffic import Backends, Clients, Tally, settings_text
from quiclb.net.address import format_address
from quiclb.net.spp import SppHeader, wrap

NAME: Final = "lb-faults"
FLOWS: Final = 64
ORPHAN_GRACE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """`during` runs beside the traffic, from a quarter of its time on."""

    name: str
    during: Callable[[FaultTestbed], None]
    backends: int = 8
    ip: str = "127.0.0.1"
    processes: int = 2
    daemons: int = 1


class FaultTestbed:
    """The daemons of one scenario, and what its fault may touch."""

    def __init__(self, scenario: Scenario, seconds: float, folder: Path) -> None:
        self.seconds = seconds
        self.backends = Backends(scenario.backends, scenario.ip)
        self.clients = Clients(self.backends.tally, max(FLOWS, scenario.backends), scenario.backends, scenario.ip)
        self.settings = folder / "lb.toml"
        host = f"[{scenario.ip}]" if ":" in scenario.ip else scenario.ip
        self.settings.write_text(
            settings_text(
                self.backends.addresses,
                listen=f"{host}:0",
                inner=f"{host}:0",
                metrics="127.0.0.1:0",
                processes=scenario.processes,
                orphan_grace_s=ORPHAN_GRACE_S,
            )
        )
        self.daemons = [Daemon(self.settings) for _ in range(scenario.daemons)]
        self._orphans: list[int] = []

    def run(self, scenario: Scenario, rate: float) -> Tally:
        failure: list[BaseException] = []

        def disturb() -> None:
            time.sleep(self.seconds / 4)
            try:
                scenario.during(self)
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=disturb)
        thread.start()
        vips = [daemon.vip for daemon in self.daemons]
        self.clients.send_for(self.seconds, rate, vips, thread.is_alive)
        thread.join()
        if failure:
            raise failure[0]
        return self.clients.tally

    def remember_orphans(self) -> None:
        self._orphans += children_of(self.daemons[0].process.pid)

    def receive_drops(self) -> int:
        samples = [daemon.scrape() for daemon in self.daemons if daemon.process.poll() is None]
        return round(
            sum(value for sample in samples for name, value in sample.items() if "receive_drops_total" in name)
        )

    def close(self) -> None:
        for daemon in self.daemons:
            daemon.kill()
        for pid in self._orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.clients.close()
        self.backends.close()


def nothing(testbed: FaultTestbed) -> None:
    """The control."""


def kill_processes(testbed: FaultTestbed) -> None:
    """SIGKILL one process, and another when a spare is ready again."""
    daemon = testbed.daemons[0]
    for slot in (0, 1):
        _wait_for_spare(daemon)
        os.kill(daemon.serving()[slot], signal.SIGKILL)
        time.sleep(testbed.seconds / 4)
    _wait_for_spare(daemon)


def _wait_for_spare(daemon: Daemon) -> None:
    while daemon.scrape()['quiclb_processes{state="spare"}'] < 1:
        time.sleep(0.1)


def kill_supervisor(testbed: FaultTestbed) -> None:
    """SIGKILL the supervisor and start another, whose processes work beside the orphans."""
    first = testbed.daemons[0]
    testbed.remember_orphans()
    first.process.kill()
    first.process.wait()
    testbed.daemons.append(
        Daemon(testbed.settings, listen=format_address(first.vip), inner=format_address(first.inner))
    )


def kill_everything(testbed: FaultTestbed) -> None:
    """SIGKILL all processes at once and start the daemon again."""
    first = testbed.daemons[0]
    first.kill()
    testbed.daemons.append(
        Daemon(testbed.settings, listen=format_address(first.vip), inner=format_address(first.inner))
    )


def replace(testbed: FaultTestbed) -> None:
    """Start a second daemon beside the first and stop the first: an upgrade."""
    first = testbed.daemons[0]
    testbed.daemons.append(
        Daemon(testbed.settings, listen=format_address(first.vip), inner=format_address(first.inner))
    )
    first.stop()


def reload(testbed: FaultTestbed) -> None:
    """Drain a backend and take it back, again and again."""
    text = testbed.settings.read_text()
    end = time.monotonic() + testbed.seconds / 2
    is_draining = False
    while time.monotonic() < end:
        is_draining = not is_draining
        testbed.settings.write_text(
            text.replace('name = "b1"', 'name = "b1"\nstate = "draining"') if is_draining else text
        )
        testbed.daemons[0].process.send_signal(signal.SIGHUP)
        time.sleep(0.3)


def lose_backend(testbed: FaultTestbed) -> None:
    """Close one backend's port for a third of the time."""
    testbed.backends.close_one(1)
    time.sleep(testbed.seconds / 3)
    testbed.backends.open_one(1)


def flood(testbed: FaultTestbed) -> None:
    """Garbage for the VIP; forged replies, and backends' replies that name the VIP, loopback's port 0 or multicast."""
    rng = os.urandom
    daemon, client = testbed.daemons[0], testbed.clients.addresses[0]
    forged = wrap(SppHeader(client, daemon.vip), b"forged")
    abusive = [wrap(SppHeader(named, daemon.vip), b"x") for named in (daemon.vip, ("127.0.0.1", 0), ("224.0.0.1", 9))]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        end = time.monotonic() + testbed.seconds / 2
        while time.monotonic() < end:
            for _ in range(4):
                other.sendto(rng(1 + rng(1)[0] % 90), daemon.vip)
            other.sendto(forged, daemon.inner)
            for datagram in abusive:
                testbed.backends.send_from(0, datagram, daemon.inner)
            time.sleep(0.002)


SCENARIOS: Final = (
    Scenario("no fault", nothing),
    Scenario("no fault, IPv6", nothing, ip="::1"),
    Scenario("two daemons behind ECMP, packet by packet", nothing, processes=1, daemons=2),
    Scenario("1,000 backends", nothing, backends=1000),
    Scenario("a process killed, then the other", kill_processes),
    Scenario("the supervisor killed, another started", kill_supervisor),
    Scenario("everything killed, started again", kill_everything),
    Scenario("replaced by a second daemon beside it", replace),
    Scenario("reloaded every 0.3 s", reload),
    Scenario("a backend lost for a third of the time", lose_backend),
    Scenario("garbage, unknown sources, headers naming the VIP", flood),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rate", type=float, default=8000.0)
    parser.add_argument("--only", default="", help="scenarios whose name holds this")
    options = parser.parse_args()
    faults: dict[str, dict[str, int]] = {}
    lines = list(_head(options.seconds, options.rate))
    for scenario in (scenario for scenario in SCENARIOS if options.only in scenario.name):
        with tempfile.TemporaryDirectory() as folder:
            testbed = FaultTestbed(scenario, options.seconds, Path(folder))
            try:
                tally = testbed.run(scenario, options.rate)
                drops = testbed.receive_drops()
            finally:
                testbed.close()
        faults[scenario.name] = {
            "sent": tally.sent,
            "lost_inward": tally.lost_inward,
            "lost_outward": tally.lost_outward,
            "in_full_queues": drops,
            "astray": tally.strays,
        }
        counts = (f"{count:,}" for count in faults[scenario.name].values())
        lines.append(f"| {scenario.name} | {' | '.join(counts)} |")
        print(lines[-1], flush=True)
    document = {"seconds": options.seconds, "rate": options.rate, "faults": faults}
    save(NAME, document, "\n".join(lines), is_shown=False)
    if strays := sum(each["astray"] for each in faults.values()):
        sys.exit(f"{strays} datagrams went astray")


def _head(seconds: float, rate: float) -> Iterator[str]:
    yield f"# Faults: `python -m bench.lb_faults --seconds {seconds:g} --rate {rate:g}`"
    yield ""
    yield f"Loopback, {os.cpu_count()} cores shared with the traffic's own processes, Linux {platform.release()}."
    yield "Datagrams of 200 bytes. *Astray*: a backend or client got what was not for it."
    yield ""
    yield "| fault | sent | lost inward | lost outward | of these in full queues | astray |"
    yield "|---|---|---|---|---|---|"


if __name__ == "__main__":
    main()
