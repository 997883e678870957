"""A network namespace, the TUN devices in it, and programs and sockets that live there."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN_NO_PI: Final = 0x1001
_CLONE_NEWNET: Final = 0x40000000


def is_possible() -> bool:
    """Whether namespaces and TUN devices can be made here."""
    return os.geteuid() == 0 and shutil.which("ip") is not None and Path("/dev/net/tun").exists()


class Namespace:
    """One end of the link; `address` is where the other end reaches it first."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address

    def create(self) -> None:
        """Make the namespace, with its own loopback up."""
        ip("netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def delete(self) -> None:
        """Remove the namespace; its devices go when the last program in it does."""
        ip("netns", "delete", self.name, is_checked=False)

    def ip(self, *arguments: str, is_checked: bool = True) -> None:
        """Run the command `ip` in here."""
        ip("-netns", self.name, *arguments, is_checked=is_checked)

    def add_tun(self, device: str) -> int:
        """Add a TUN device and return the descriptor at which its IP packets are read and written."""
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        try:
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TUN_NO_PI))
            ip("link", "set", device, "netns", self.name)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs a program in here."""
        return ["ip", "netns", "exec", self.name, *arguments]

    async def start(self, *arguments: str, **options: Any) -> asyncio.subprocess.Process:
        """Start a program in here; `options` are those of `asyncio.create_subprocess_exec`."""
        return await asyncio.create_subprocess_exec(*self.command(*arguments), **options)

    def socket(self, kind: socket.SocketKind) -> socket.socket:
        """An IPv4 socket of this namespace in this process."""
        with self.entered():
            return socket.socket(socket.AF_INET, kind)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets that this thread makes meanwhile belong to this namespace; do not await inside."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as own, open(f"/run/netns/{self.name}") as other:
            _enter(libc, other.fileno())
            try:
                yield
            finally:
                _enter(libc, own.fileno())


def ip(*arguments: str, is_checked: bool = True) -> None:
    """Run the command `ip`; raises `OSError` with what it said."""
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if is_checked and done.returncode:
        raise OSError(f"ip {' '.join(arguments)} failed: {done.stderr.strip()}")


def _enter(libc: ctypes.CDLL, fd: int) -> None:
    if libc.setns(fd, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")
