"""A load balancer in this process on any datapath, or as a process of its own."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import json
import os
import socket
import subprocess
import sys

import pytest
import uvloop

from quiclb import Settings, unwrap
from quiclb.datapath.vectorised import batch_loop
from quiclb.net.address import format_address
from tests.unit.quiclb.pools import KEY, cid, short_packet

TIMEOUT_S = 30.0
UNPROBED = f"""[health]
enabled = false
[[config]]
id = 0
server_id_length = 4
nonce_length = 12
key = "{KEY.hex()}"
"""
"""Settings of a load balancer without health probes, whose config is that of `tests.unit.quiclb.pools`."""
CHOSEN = contextvars.ContextVar("CHOSEN", default="vectorised")


def on_every_datapath(test):
    """Run an async test with the asyncio datapath on either event loop, and with the vectorised one.

    A few datagrams are below what is worth an array, so the vectorised one runs once more with nothing but arrays.
    """

    @functools.wraps(test)
    def run(monkeypatch, datapath, **arguments):
        if datapath == "arrays":
            monkeypatch.setattr(batch_loop, "SINGLES", 0)
            monkeypatch.setattr(batch_loop, "JOIN_FROM", 2)
            monkeypatch.setattr(batch_loop, "FLUSH_BATCHES", 1)
        new_loop = uvloop.new_event_loop if datapath == "uvloop" else asyncio.new_event_loop
        CHOSEN.set("vectorised" if datapath in ("vectorised", "arrays") else "asyncio")
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(test(**arguments))

    added = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("monkeypatch", "datapath")]
    signature = inspect.signature(test)
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]  # functools.wraps hides that it is a function
        parameters=[*added, *signature.parameters.values()]
    )
    return pytest.mark.parametrize("datapath", ["asyncio", "uvloop", "vectorised", "arrays"])(run)


class Peer(asyncio.DatagramProtocol):
    """A UDP socket with a queue of what it received."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, tuple]] = asyncio.Queue()

    async def open(self, ip: str = "127.0.0.1") -> Peer:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(ip, 0))
        self.address = self.transport.get_extra_info("sockname")[:2]
        return self

    def datagram_received(self, data, addr):
        self.received.put_nowait((data, addr[:2]))

    def send(self, data: bytes, address) -> None:
        self.transport.sendto(data, address)

    async def next(self) -> tuple[bytes, tuple]:
        async with asyncio.timeout(TIMEOUT_S):
            return await self.received.get()


def settings_for(backends, listen="127.0.0.1:0", inner="127.0.0.1:0", **section) -> Settings:
    return Settings.model_validate(
        {
            "forwarder": {"listen": listen, "inner": inner, "allow_loopback_clients": True, "datapath": CHOSEN.get()}
            | section,
            "health": {"enabled": False},
            "config": [
                {"id": 0, "server_id_length": 4, "nonce_length": 12, "key": KEY.hex()},
            ],
            "backend": [
                {
                    "name": f"b{number}",
                    "address": format_address(address),
                    "server_ids": {0: (bytes((number,)) * 4).hex()},
                }
                for number, address in enumerate(backends, start=1)
            ],
        }
    )


def udp_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(TIMEOUT_S)
    return sock


class LoadBalancerProcess:
    """One `quiclb serve`; ready when made."""

    def __init__(self, config, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "quiclb", "serve", "--config", str(config), "--log-format", "json"],
            env=os.environ | environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        started = json.loads(self.process.stderr.readline())
        assert started["event"] == "load balancer started"
        self.vip, self.inner = (self._address(started[side]) for side in ("vip", "inner"))

    @staticmethod
    def _address(text: str) -> tuple[str, int]:
        host, _, port = text.rpartition(":")
        return host, int(port)

    def __enter__(self) -> LoadBalancerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def exchange(client, backend, vip, number) -> None:
    client.sendto(short_packet(cid(number)), vip)
    wrapped, inner = backend.recvfrom(2048)
    assert unwrap(wrapped)[1] == short_packet(cid(number))
    backend.sendto(wrapped[:38] + b"reply", inner)
    assert client.recvfrom(2048) == (b"reply", vip)
