"""The author's own tests: the contract suite that quiclb ships, and a load balancer chosen by configuration."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from toy_datapath import ToyDatapath

import quiclb
from quiclb.datapath.base import Datapath
from quiclb.net.address import format_address
from quiclb.testing.datapath_contract import (
    CONFIGS,
    SocketDatapathContract,
    connection_id,
    server_id,
    short_packet,
)


class TestToyDatapath(SocketDatapathContract):
    def make(self) -> Datapath:
        return ToyDatapath()


def test_a_load_balancer_runs_on_it_by_configuration(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as backend,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        for sock in (backend, client):
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(5)
        config = CONFIGS[0]
        file = tmp_path / "lb.toml"
        file.write_text(f"""
[forwarder]
listen = "127.0.0.1:0"
inner = "127.0.0.1:0"
datapath = "toy"
allow_loopback_clients = true

[health]
enabled = false

[[config]]
id = {config.config_id}
server_id_length = {config.server_id_length}
nonce_length = {config.nonce_length}
key = "{config.key.hex()}"

[[backend]]
name = "b0"
address = "{format_address(backend.getsockname())}"
server_ids = {{ {config.config_id} = "{server_id(0, config).hex()}" }}
""")

        async def run() -> None:
            balancer = quiclb.LoadBalancer(quiclb.load_settings(file))
            await balancer.start()
            try:
                assert type(balancer.host.datapath) is ToyDatapath
                client.sendto(short_packet(connection_id(0)), balancer.vip)
                wrapped = await asyncio.to_thread(backend.recv, 2048)
                backend.sendto(wrapped, balancer.inner)
                assert await asyncio.to_thread(client.recv, 2048) == short_packet(connection_id(0))
                assert balancer.counters.packets == {("routable", "ok"): 1}
            finally:
                await balancer.stop()

        asyncio.run(run())
