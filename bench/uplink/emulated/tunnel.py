"""Two network namespaces joined by a link in this process: the kernel's TCP meets the loss that is drawn here.

Each port, of TCP or UDP, has a link of its own. Needs root, `ip`, and /dev/net/tun.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final, Self

from bench.uplink.conditions import Condition
from testbed.simnet.links import Link

CALLER: Final = "10.99.0.1"
SERVER: Final = "10.99.0.2"
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN_NO_PI: Final = 0x1001
_IP_UDP_BYTES: Final = 28


def is_possible() -> bool:
    """Whether namespaces can be made here."""
    return os.geteuid() == 0 and shutil.which("ip") is not None and Path("/dev/net/tun").exists()


class Tunnel:
    """Use as `async with Tunnel(links) as tunnel:`, with a condition and a seed for each port of the server."""

    def __init__(self, links: dict[int, tuple[Condition, int]]) -> None:
        self._conditions = links
        self._links = {port: Link(condition.profile) for port, (condition, _) in links.items()}
        self._rngs = {port: random.Random(seed) for port, (_, seed) in links.items()}
        self._fds: list[int] = []
        self.namespaces = [f"uplink-{side}-{os.getpid()}" for side in ("caller", "server")]
        self.byte_count = dict.fromkeys(links, 0)
        """Bytes of IP packets from the caller, by port."""

    async def __aenter__(self) -> Self:
        try:
            for namespace, own, other in zip(self.namespaces, (CALLER, SERVER), (SERVER, CALLER), strict=True):
                self._open_side(namespace, own, other)
        except BaseException:
            self._close()
            raise
        loop = asyncio.get_running_loop()
        for index, fd in enumerate(self._fds):
            loop.add_reader(fd, self._read, index)
        return self

    async def __aexit__(self, *_: object) -> None:
        for fd in self._fds:
            asyncio.get_running_loop().remove_reader(fd)
        self._close()

    def speech_begins(self) -> None:
        """Count bytes, and let blackouts come, from now on."""
        now = asyncio.get_running_loop().time()
        for port, (condition, _) in self._conditions.items():
            self.byte_count[port] = 0
            for begin, length in condition.blackouts:
                self._links[port].black_out(now + begin, now + begin + length)

    def black_out(self, port: int, seconds: float) -> None:
        """Lose all packets of this port for so long."""
        now = asyncio.get_running_loop().time()
        self._links[port].black_out(now, now + seconds)

    def _open_side(self, namespace: str, own: str, other: str) -> None:
        device = f"up{len(self._fds)}-{os.getpid() % 100_000}"
        _ip("netns", "add", namespace)
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        self._fds.append(fd)
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TUN_NO_PI))
        _ip("link", "set", device, "netns", namespace)
        _ip("-n", namespace, "address", "add", own, "peer", other, "dev", device)
        _ip("-n", namespace, "link", "set", device, "up")

    def _close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        for namespace in self.namespaces:
            _ip("netns", "delete", namespace, is_checked=False)

    def _read(self, side: int) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                packet = os.read(self._fds[side], 2_048)
            except BlockingIOError:
                return
            if packet[0] >> 4 != 4:
                continue
            header = 4 * (packet[0] & 15)
            port = int.from_bytes(packet[header + 2 : header + 4] if side == 0 else packet[header : header + 2], "big")
            link = self._links.get(port)
            if link is None:
                continue
            if side == 0:
                self.byte_count[port] += len(packet)
            direction = link.up if side == 0 else link.down
            arrivals = direction.carry(loop.time(), len(packet) - _IP_UDP_BYTES, self._rngs[port])
            if not isinstance(arrivals, str):
                for at in arrivals:
                    loop.call_at(at, self._write, 1 - side, packet)

    def _write(self, side: int, packet: bytes) -> None:
        try:
            os.write(self._fds[side], packet)
        except OSError:
            return  # the namespace's queue is full, or it is gone


def _ip(*arguments: str, is_checked: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=is_checked, capture_output=True)
