"""All sockets of one machine: kept by the supervisor for as long as it lives, and handed on when it is upgraded."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from quiclb.http.listener import listening_socket
from quiclb.net.address import Address, format_address, normalise
from voice_gateway.errors import BindError, ConfigurationError
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.supervisor.steering.group import SteeredSockets
from voice_gateway.supervisor.steering.program import steering_layout
from voice_gateway.web.server import cannot_listen

DATAGRAMS = "worker.listen"
ADMIN = "admin.listen"


class SocketNumbers(msgspec.Struct, frozen=True):
    """The descriptors of all sockets, for the program that is executed in place of this one."""

    datagrams: list[int]
    shared: dict[str, int]
    admin: list[int]


@dataclass(frozen=True, slots=True)
class BoxSockets:
    """`datagrams`: one UDP socket for each slot. `shared`: a TCP socket that listens for each listener of the workers,
    by its setting: they take connections from one queue, so that none is lost with a worker.

    `admin`: the supervisor's own and one for each slot, none without `[admin]`.
    """

    datagrams: SteeredSockets
    shared: Mapping[str, socket.socket] = field(default_factory=dict)
    admin: tuple[socket.socket, ...] = ()

    @classmethod
    def bind(cls, settings: GatewaySettings, slots: int) -> BoxSockets:
        """Bind all; raises `BindError` and leaves nothing open."""
        opened: list[socket.socket] = []
        shared: dict[str, socket.socket] = {}
        try:
            if settings.worker.listen is None:
                raise BindError("worker.listen: is required")
            datagrams = SteeredSockets.bind(DATAGRAMS, settings.worker.listen, slots, steering_layout())
            opened += datagrams.sockets
            for key, address in _listeners(settings).items():
                shared[key] = _listening(key, address)
                opened.append(shared[key])
            admin: list[socket.socket] = []
            if settings.admin is not None:
                host, port = settings.admin.listen
                for number in range(slots + 1):
                    admin.append(_listening(ADMIN, (host, port and port + number)))
                    opened.append(admin[-1])
        except BindError:
            for sock in opened:
                sock.close()
            raise
        return cls(datagrams, shared, tuple(admin))

    @classmethod
    def adopt(cls, numbers: SocketNumbers) -> BoxSockets:
        """Take over the sockets of the program that ran here before."""
        return cls(
            SteeredSockets([_adopted(fd) for fd in numbers.datagrams], steering_layout()),
            {key: _adopted(fd) for key, fd in numbers.shared.items()},
            tuple(_adopted(fd) for fd in numbers.admin),
        )

    def numbers(self) -> SocketNumbers:
        """Let all sockets survive `exec`, and return their descriptors."""
        for sock in self._all():
            sock.set_inheritable(True)
        return SocketNumbers(
            [sock.fileno() for sock in self.datagrams.sockets],
            {key: sock.fileno() for key, sock in self.shared.items()},
            [sock.fileno() for sock in self.admin],
        )

    def of_slot(self, slot: int) -> dict[str, int]:
        """Return the descriptors for the worker in a slot, by setting."""
        found = {key: sock.fileno() for key, sock in self.shared.items()}
        found[DATAGRAMS] = self.datagrams.sockets[slot].fileno()
        if self.admin:
            found[ADMIN] = self.admin[1 + slot].fileno()
        return found

    @property
    def addresses(self) -> dict[str, Address]:
        """Where each listener is, by its setting."""
        found = {key: normalise(sock.getsockname()) for key, sock in self.shared.items()}
        found[DATAGRAMS] = self.datagrams.address
        if self.admin:
            found[ADMIN] = normalise(self.admin[0].getsockname())
        return found

    def check(self, settings: GatewaySettings) -> None:
        """Raise `ConfigurationError` where settings name other addresses than are bound."""
        wanted = {DATAGRAMS: settings.worker.listen, **_listeners(settings)}
        wanted |= {} if settings.admin is None else {ADMIN: settings.admin.listen}
        bound = self.addresses
        for key in sorted(wanted.keys() | bound.keys()):
            now, then = bound.get(key), wanted.get(key)
            if now is None or then is None or (now != then and then[1] != 0):
                shown = [format_address(each) if each else "none" for each in (now, then)]
                raise ConfigurationError(f"{key}: sockets are kept until a restart, {shown[0]} is open, got {shown[1]}")

    def close(self) -> None:
        for sock in self._all():
            sock.close()

    def _all(self) -> Iterator[socket.socket]:
        yield from self.datagrams.sockets
        yield from self.shared.values()
        yield from self.admin


def _listeners(settings: GatewaySettings) -> dict[str, Address]:
    sections = {"telephony": settings.telephony, "websocket": settings.websocket, "page": settings.page}
    return {f"{name}.listen": section.listen for name, section in sections.items() if section is not None}


def _listening(key: str, address: Address) -> socket.socket:
    try:
        return listening_socket(address)
    except OSError as error:
        raise cannot_listen(key, address, error) from None


def _adopted(fd: int) -> socket.socket:
    os.set_inheritable(fd, False)
    return inherited_socket(fd)


def inherited_socket(fd: int) -> socket.socket:
    """Return the socket of a descriptor; it does not block, as its duplicates do not either."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock
