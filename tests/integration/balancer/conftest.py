"""Two backends, a client and the settings of a load balancer before them, for tests of its process."""

from __future__ import annotations

import pytest

from tests.integration.support.load_balancer import UNPROBED, udp_socket


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
{UNPROBED}{entries}""")
    return path
