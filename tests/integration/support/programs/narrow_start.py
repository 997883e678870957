"""`quiclb check` and `serve` where the path to the backend has IPv6's least MTU, 1280, in an own network namespace.

`unshare --net python -m tests.integration.support.programs.narrow_start PROCESSES` prints what `check` says, and the
events that `serve` logs: at the start, after the MTU was raised, and after it was lowered under traffic. Health probes
are off.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = """
[forwarder]
listen = "[::1]:443"
inner = "[::1]:4434"
allow_loopback_clients = true
processes = {processes}
[health]
enabled = false
[[backend]]
name = "a"
address = "[::1]:4433"
"""
STARTED = "load balancer started"
LOST = "clients' first datagrams do not reach a backend"
GOOD = "path to a backend is good again"
INITIAL = b"\x40" + bytes(1199)


def main(processes: str) -> None:
    set_mtu(1280)
    config = Path(tempfile.mkdtemp()) / "lb.toml"
    config.write_text(SETTINGS.format(processes=processes))
    checked = subprocess.run(quiclb("check", config), capture_output=True, text=True, check=True)
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as backend,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client,
        subprocess.Popen(quiclb("serve", config), stderr=subprocess.PIPE, text=True) as balancer,
    ):
        try:
            backend.bind(("::1", 4433))
            backend.settimeout(10)
            log = Log(balancer)
            log.until(STARTED)
            for _ in range(20):
                client.sendto(INITIAL, ("::1", 443))
            set_mtu(1500)
            log.until(GOOD)
            client.sendto(INITIAL, ("::1", 443))
            arrived = len(backend.recv(2048))
            set_mtu(1280)
            time.sleep(1.1)  # one message a second from the datapath
            client.sendto(INITIAL, ("::1", 443))
            log.until(LOST)
        finally:
            balancer.terminate()
    print(json.dumps({"check": checked.stdout, "events": log.seen, "arrived": arrived}))


def quiclb(command: str, config: Path) -> list[str]:
    options = ["--log-format", "json"] if command == "serve" else []
    return [sys.executable, "-m", "quiclb", command, "--config", str(config), *options]


def set_mtu(mtu_bytes: int) -> None:
    subprocess.run(["ip", "link", "set", "lo", "mtu", str(mtu_bytes), "up"], check=True)


class Log:
    """The events about paths and the start, in their order."""

    def __init__(self, balancer: subprocess.Popen[str]) -> None:
        self._lines = balancer.stderr
        self.seen: list[dict[str, object]] = []

    def until(self, event: str) -> None:
        assert self._lines is not None
        for line in self._lines:
            entry = json.loads(line)
            if entry["event"] in (STARTED, LOST, GOOD):
                self.seen.append(entry)
            if entry["event"] == event:
                return
        raise SystemExit(f"quiclb ended before {event!r}")


if __name__ == "__main__":
    os.environ.pop("QUICLB_CONFIG", None)
    main(*sys.argv[1:])
