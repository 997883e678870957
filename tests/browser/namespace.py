"""A browser's machine with two networks, of which it is on one at a time: a network namespace with two links."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

CAN_BE_MADE = os.geteuid() == 0 and shutil.which("ip") is not None
# of the block for tests of networks (RFC 2544)
SERVER, AT_HOME = "198.18.77.1", "198.18.77.2"
GATEWAY_ABROAD, ABROAD = "198.18.78.1", "198.18.78.2"
_NUMBERS = count()


@dataclass(frozen=True, slots=True)
class Namespace:
    """`name` is on the network at home; the host is reached at `SERVER` from wherever it is."""

    name: str

    def leave(self) -> None:
        """Take the address at home away: there is no network now."""
        self._ip("address", "delete", f"{AT_HOME}/30", "dev", "wifi")

    def arrive(self) -> None:
        """Give the machine an address on the other network."""
        self._ip("address", "add", f"{ABROAD}/30", "dev", "mobile")
        self._ip("route", "add", "default", "via", GATEWAY_ABROAD)

    def _ip(self, *arguments: str) -> None:
        subprocess.run(["ip", "-netns", self.name, *arguments], check=True)


@contextmanager
def two_networks() -> Iterator[Namespace]:
    """Make one, and take it away in the end, links and all."""
    number = next(_NUMBERS)
    name = f"voice-{os.getpid()}-{number}"
    home, abroad = f"vh{os.getpid()}-{number}", f"va{os.getpid()}-{number}"
    commands = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", home, "type", "veth", "peer", "name", "wifi", "netns", name],
        ["ip", "link", "add", abroad, "type", "veth", "peer", "name", "mobile", "netns", name],
        ["ip", "address", "add", f"{SERVER}/30", "dev", home],
        ["ip", "address", "add", f"{GATEWAY_ABROAD}/30", "dev", abroad],
        ["ip", "link", "set", home, "up"],
        ["ip", "link", "set", abroad, "up"],
        *(["ip", "-netns", name, "link", "set", each, "up"] for each in ("lo", "wifi", "mobile")),
        ["ip", "-netns", name, "address", "add", f"{AT_HOME}/30", "dev", "wifi"],
    ]
    sweep()
    try:
        for command in commands:
            subprocess.run(command, check=True, capture_output=True)
        yield Namespace(name)
    finally:
        for link in (home, abroad):  # a deleted namespace takes its links along, but only some time later
            subprocess.run(["ip", "link", "delete", link], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def sweep() -> None:
    """Delete what tests left that were killed: the addresses are the same for all."""
    listed = subprocess.run(["ip", "netns", "list"], check=False, capture_output=True, text=True).stdout
    for name in (line.split()[0] for line in listed.splitlines()):
        if (made_by := re.fullmatch(r"voice-(\d+)-\d+", name)) and not Path("/proc", made_by[1]).exists():
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
