"""Hosts on one Ethernet: network namespaces on a bridge, each with addresses of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hosts:
    """The namespaces' names, by host."""

    names: Mapping[str, str]

    def path(self, host: str) -> str:
        """Return the namespace as a file, as container engines want it."""
        return f"/run/netns/{self.names[host]}"

    def command(self, host: str, *command: str) -> list[str]:
        """Return the command line that runs `command` on a host."""
        return ["ip", "netns", "exec", self.names[host], *command]


@contextmanager
def ethernet(addresses: Mapping[str, Sequence[str]]) -> Iterator[Hosts]:
    """Make a host for each entry, with its addresses of one /24, and take all away in the end."""
    prefix = f"voice-{os.getpid()}"
    switch = f"{prefix}-switch"
    hosts = Hosts({host: f"{prefix}-{host}" for host in addresses})
    try:
        _ip("netns", "add", switch)
        _ip("-netns", switch, "link", "add", "bridge", "up", "type", "bridge")
        for number, (host, own) in enumerate(addresses.items()):
            name = hosts.names[host]
            _ip("netns", "add", name)
            _ip("-netns", switch, "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("-netns", switch, "link", "set", f"port{number}", "master", "bridge", "up")
            for address in own:
                _ip("-netns", name, "address", "add", f"{address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                _ip("-netns", name, "link", "set", link, "up")
        yield hosts
    finally:
        for name in (*hosts.names.values(), switch):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
