"""systemd: sockets that outlive the process, and notifications of readiness."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

from quiclb.datapath.base import Side, SocketPair
from quiclb.datapath.linux.sockets import configure_socket
from quiclb.errors import StartError
from quiclb.net.address import Address, format_address, normalise

FIRST_FD: Final = 3


def inherited_sockets(environ: Mapping[str, str], listen: Address, inner: Address, count: int) -> list[SocketPair]:
    """Take over the sockets of socket activation; none if there was none. Raises `StartError` if they do not fit.

    The socket units name them `vip` and `inner` (`FileDescriptorName=`), and there must be `count` of each, bound to
    the addresses of the settings (sd_listen_fds(3)).
    """
    number = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or number in ("", "0"):
        return []
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    if number != str(len(names)):
        raise StartError(
            f"LISTEN_FDS must be the number of names in LISTEN_FDNAMES, {len(names)} here, got {number!r}; set "
            "FileDescriptorName= in the socket units"
        )
    found: dict[str, list[socket.socket]] = {side.value: [] for side in Side}
    for fd, name in enumerate(names, start=FIRST_FD):
        if name not in found:
            raise StartError(f"systemd passes a socket named {name!r}; its name must be vip or inner")
        found[name].append(_adopt(fd, Side(name), listen if name == Side.VIP else inner))
    for name, sockets in found.items():
        if len(sockets) != count:
            raise StartError(f"systemd passes {len(sockets)} {name} sockets, processes = {count} needs {count}")
    return [SocketPair(*pair) for pair in zip(found[Side.VIP], found[Side.INNER], strict=True)]


def notify(environ: Mapping[str, str], state: str) -> None:
    """Tell the service manager, such as `READY=1`; nothing happens without one (sd_notify(3))."""
    address = environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError as error:
            raise StartError(
                f"cannot reach the service manager at {address!r}: {str(error.strerror).lower()}"
            ) from None


def _adopt(fd: int, side: Side, expected: Address) -> socket.socket:
    os.set_inheritable(fd, False)
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise StartError(f"systemd passes no socket as {side.value}: {str(error.strerror).lower()}") from None
    if sock.type != socket.SOCK_DGRAM or sock.family not in (socket.AF_INET, socket.AF_INET6):
        raise StartError(f"systemd passes a {side.value} socket that is not UDP; use ListenDatagram=")
    bound = normalise(sock.getsockname())
    if bound != expected and expected[1] != 0:
        raise StartError(
            f"systemd passes {format_address(bound)} as {side.value}, the settings say {format_address(expected)}"
        )
    configure_socket(sock, side)
    return sock
