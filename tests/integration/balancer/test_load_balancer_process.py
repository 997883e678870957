"""The `quiclb serve` process: killed, restarted, terminated."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from quiclb import unwrap
from tests.unit.quiclb.pools import KEY, cid, short_packet

TIMEOUT_S = 10.0


@pytest.fixture
def backends():
    sockets = [udp_socket() for _ in range(2)]
    yield sockets
    for sock in sockets:
        sock.close()


@pytest.fixture
def client():
    with udp_socket() as sock:
        yield sock


def udp_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(TIMEOUT_S)
    return sock


@pytest.fixture
def config(tmp_path, backends):
    entries = "".join(
        f"""
[[backend]]
name = "b{number}"
address = "127.0.0.1:{backend.getsockname()[1]}"
server_ids = {{ 0 = "{(bytes((number,)) * 4).hex()}" }}
"""
        for number, backend in enumerate(backends, start=1)
    )
    path = tmp_path / "lb.toml"
    path.write_text(f"""
[forwarder]
listen = "127.0.0.1:0"
inner = "127.0.0.1:0"
allow_loopback_clients = true
[health]
enabled = false
[[config]]
id = 0
server_id_length = 4
nonce_length = 12
key = "{KEY.hex()}"
{entries}""")
    return path


class Daemon:
    """One `quiclb serve`; ready when made."""

    def __init__(self, config, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "quiclb", "serve", "--config", str(config), "--log-format", "json"],
            env=os.environ | environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        started = json.loads(self.process.stderr.readline())
        assert started["event"] == "load balancer started"
        self.vip, self.inner = (self._address(started[side]) for side in ("vip", "inner"))

    @staticmethod
    def _address(text: str) -> tuple[str, int]:
        host, _, port = text.rpartition(":")
        return host, int(port)

    def __enter__(self) -> Daemon:
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


def test_after_sigkill_and_restart_connections_go_on(config, client, backends):
    with Daemon(config) as first:
        for number, backend in enumerate(backends, start=1):
            exchange(client, backend, first.vip, number)
        ports = {"QUICLB_LISTEN": "{}:{}".format(*first.vip), "QUICLB_INNER": "{}:{}".format(*first.inner)}
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(TIMEOUT_S)
    with Daemon(config, **ports) as second:
        assert (second.vip, second.inner) == (first.vip, first.inner)
        for number, backend in enumerate(backends, start=1):
            exchange(client, backend, second.vip, number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_asked(config, client, backends, number):
    with Daemon(config) as daemon:
        exchange(client, backends[0], daemon.vip, 1)
        daemon.process.send_signal(number)
        _, err = daemon.process.communicate(timeout=TIMEOUT_S)
        assert daemon.process.returncode == 0
        # one line when it started, one when it stops, none for any packet
        [stopped] = err.splitlines()
        assert json.loads(stopped).items() >= {"event": "load balancer stopped", "packets": 1}.items()


def test_a_port_in_use_is_one_sentence(config, client):
    taken = "{}:{}".format(*client.getsockname())
    command = [sys.executable, "-m", "quiclb", "serve", "--config", str(config), "--listen", taken]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert ended.returncode == 1
    assert ended.stderr == f"quiclb: cannot listen on {taken}: the address is in use\n"
