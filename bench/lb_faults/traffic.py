"""Numbered datagrams through a load balancer, and checks on both sides for misrouted ones.

Every datagram names its flow, its number and the backend that its connection ID belongs to. A backend checks that it is
that one, and echoes; a client checks that the echo is of a datagram it sent.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from quiclb import CidEncoder, QuicLbConfig, unwrap
from quiclb.net.address import Address, format_address, normalise
from quiclb.net.spp import HEADER_LENGTH

KEY: Final = bytes.fromhex("8f95f09245765f80256934e50c66207f")
CONFIG: Final = QuicLbConfig(0, 4, 12, KEY)
DATAGRAM_BYTES: Final = 200
QUIET_S: Final = 1.0
"""No arrival for so long ends a run in which every datagram was answered."""
LOST_S: Final = 5.0
"""After so long without an arrival what is missing is lost: a busy machine may stop a process for seconds."""
_LOOK_S: Final = 0.02
_LARGEST_BURST: Final = 256
"""A sender that was stopped sends no more than that at once: what a socket cannot hold would be lost."""

_TAG: Final = struct.Struct("!4sHHI")
_MARK: Final = b"\xf0ult"
_HEAD_BYTES: Final = 1 + CONFIG.cid_length


@dataclass(slots=True)
class Tally:
    """What became of the datagrams of a run. All but the losses must be 0 in `strays`."""

    sent: int = 0
    delivered: int = 0
    answered: int = 0
    misrouted: int = 0
    misdelivered: int = 0
    foreign: int = 0
    """What a load balancer sent to a client and no backend had answered."""
    unmarked: int = 0
    """What others than the clients sent and the fallback gave some backend, as it may."""
    refused: int = 0
    by_backend: dict[int, int] = field(default_factory=dict)

    @property
    def lost_inward(self) -> int:
        return self.sent - self.delivered

    @property
    def lost_outward(self) -> int:
        return self.delivered - self.answered

    @property
    def strays(self) -> int:
        """Misdelivered datagrams."""
        return self.misrouted + self.misdelivered + self.foreign


def server_id(backend: int) -> bytes:
    """The server ID of a backend, counted from 0, in `CONFIG`."""
    return (backend + 1).to_bytes(CONFIG.server_id_length, "big")


def settings_text(
    backends: Sequence[Address], *, listen: str, inner: str, states: dict[int, str] | None = None, **keys: object
) -> str:
    """A settings file for these backends; `keys` go to `[forwarder]`."""
    lines = ["[forwarder]", f'listen = "{listen}"', f'inner = "{inner}"', "allow_loopback_clients = true"]
    lines += [f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {value}" for name, value in keys.items()]
    lines += ["[health]", "enabled = false", "[[config]]", "id = 0", "server_id_length = 4", "nonce_length = 12"]
    lines += [f'key = "{KEY.hex()}"']
    for number, address in enumerate(backends):
        lines += ["[[backend]]", f'name = "b{number}"', f'address = "{format_address(address)}"']
        lines += [f'server_ids = {{ 0 = "{server_id(number).hex()}" }}']
        if states and number in states:
            lines += [f'state = "{states[number]}"']
    return "\n".join(lines) + "\n"


class Backends:
    """Sockets on `ip` that check and echo, served by a thread until `close`."""

    def __init__(self, count: int, ip: str = "127.0.0.1") -> None:
        self.tally = Tally()
        self._sockets = [_udp_socket(ip) for _ in range(count)]
        self.addresses = [normalise(sock.getsockname()) for sock in self._sockets]
        self._selector = selectors.DefaultSelector()
        for number, sock in enumerate(self._sockets):
            self._selector.register(sock, selectors.EVENT_READ, number)
        self._is_open = True
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._is_open = False
        self._thread.join()
        for sock in self._sockets:
            sock.close()

    def close_one(self, number: int) -> None:
        """Let a backend vanish: its port is closed."""
        self._selector.unregister(self._sockets[number])
        self._sockets[number].close()

    def open_one(self, number: int) -> None:
        """Let a backend that vanished return at its address."""
        self._sockets[number] = _udp_socket(*self.addresses[number])
        self._selector.register(self._sockets[number], selectors.EVENT_READ, number)

    def send_from(self, number: int, datagram: bytes, target: Address) -> None:
        """Send something of one's own from a backend's socket."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self._sockets[number].sendto(datagram, target)

    def _serve(self) -> None:
        while self._is_open:
            for key, _ in self._selector.select(0.05):
                # OSError: closed meanwhile by `close_one`
                with contextlib.suppress(OSError):
                    for _ in range(64):
                        self._take(key.data, key.fileobj)  # type: ignore[arg-type]

    def _take(self, number: int, sock: socket.socket) -> None:
        datagram, balancer = sock.recvfrom(2048)
        opened = unwrap(datagram)
        tag = opened[1][_HEAD_BYTES : _HEAD_BYTES + _TAG.size] if isinstance(opened, tuple) else b""
        if len(tag) < _TAG.size or not tag.startswith(_MARK):
            self.tally.unmarked += 1
            return
        _, backend, _, _ = _TAG.unpack(tag)
        if backend != number:
            self.tally.misrouted += 1
        self.tally.delivered += 1
        self.tally.by_backend[number] = self.tally.by_backend.get(number, 0) + 1
        with contextlib.suppress(OSError):
            sock.sendto(datagram[:HEADER_LENGTH] + tag, balancer)


class Clients:
    """`flows` sockets on `ip` that send to one or more VIPs, datagram by datagram in turn."""

    def __init__(self, tally: Tally, flows: int, backends: int, ip: str = "127.0.0.1") -> None:
        self.tally = tally
        self._sockets = [_udp_socket(ip) for _ in range(flows)]
        self.addresses = [normalise(sock.getsockname()) for sock in self._sockets]
        self._backends = backends
        self._vips: set[Address] = set()
        self._selector = selectors.DefaultSelector()
        for flow, sock in enumerate(self._sockets):
            self._selector.register(sock, selectors.EVENT_READ, flow)
        encoders = [CidEncoder(CONFIG, server_id(backend), rng=os.urandom) for backend in range(backends)]
        # each flow is a connection to one backend, with a connection ID of its own
        self._cids = [encoders[flow % backends].encode() for flow in range(flows)]

    def send_for(
        self,
        duration_s: float,
        rate: float,
        vips: Sequence[Address],
        is_going_on: Callable[[], bool] = lambda: False,
    ) -> None:
        """Send at `rate` datagrams a second, taking answers meanwhile, then wait until nothing arrives any more.

        Sending goes on beyond `duration_s` while `is_going_on`, and for as long as this process was stopped.
        """
        self._vips.update(vips)
        looked_at, elapsed_s, number = time.monotonic(), 0.0, 0
        while elapsed_s < duration_s or is_going_on():
            now = time.monotonic()
            elapsed_s += min(now - looked_at, _LARGEST_BURST / rate)
            looked_at = now
            while number < elapsed_s * rate:
                self._send(number, vips[number % len(vips)])
                number += 1
            self._receive(0.001)
        # looks are counted, not seconds: in those that this process was stopped it has seen nothing
        tally, last, quiet_looks = self.tally, -1, 0
        while quiet_looks * _LOOK_S < (LOST_S if tally.answered < tally.sent else QUIET_S):
            if not self._receive(_LOOK_S):
                quiet_looks += 1
            if (now := tally.delivered + tally.answered) != last:
                last, quiet_looks = now, 0

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()

    def _send(self, number: int, vip: Address) -> None:
        flow = number % len(self._sockets)
        tag = _TAG.pack(_MARK, flow % self._backends, flow, number)
        datagram = (b"\x40" + self._cids[flow] + tag).ljust(DATAGRAM_BYTES, b"\x55")
        try:
            self._sockets[flow].sendto(datagram, vip)
        except OSError:
            # no socket is bound: an ICMP error about an earlier datagram
            self.tally.refused += 1
            with contextlib.suppress(OSError):
                self._sockets[flow].sendto(datagram, vip)
        self.tally.sent += 1

    def _receive(self, timeout_s: float) -> bool:
        """Take what arrives; return whether anything did."""
        ready = self._selector.select(timeout_s)
        for key, _ in ready:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                for _ in range(64):
                    self._take(key.data, key.fileobj)  # type: ignore[arg-type]
        return bool(ready)

    def _take(self, flow: int, sock: socket.socket) -> None:
        answer, source = sock.recvfrom(2048)
        if normalise(source) not in self._vips:
            return  # of another program: the port may have been its peer's before
        if len(answer) != _TAG.size or not answer.startswith(_MARK):
            self.tally.foreign += 1
            return
        _, _, named_flow, _ = _TAG.unpack(answer)
        if named_flow != flow:
            self.tally.misdelivered += 1
        self.tally.answered += 1


def _udp_socket(ip: str, port: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    # SO_RCVBUFFORCE, so that a loss seen here is the load balancer's
    with contextlib.suppress(PermissionError):
        sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
    sock.bind((ip, port))
    return sock
