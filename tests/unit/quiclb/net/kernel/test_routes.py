from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from quiclb.net.kernel import routes
from quiclb.net.kernel.routes import RouteMtu, is_local_ip, path_mtu

ANY = ("0.0.0.0", 0)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")


@pytest.mark.parametrize("has_netlink", [True, False])
@pytest.mark.parametrize(
    ("ip", "is_local"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("198.51.100.7", False)]
)
def test_local_addresses_are_found_by_the_routing_table_or_else_by_a_bind(monkeypatch, has_netlink, ip, is_local):
    if not has_netlink:
        monkeypatch.setattr(routes, "_route_type", forbidden)
    assert is_local_ip(ip) is is_local


def forbidden(ip: str) -> int:
    raise PermissionError("AF_NETLINK")


def test_the_mtu_is_that_of_the_route():
    mtu = int(Path("/sys/class/net/lo/mtu").read_text())
    found = path_mtu(ANY, ("127.0.0.1", 9)).mtu_bytes
    assert found is not None
    assert mtu - 1 <= found <= mtu


def test_an_address_that_nothing_can_be_sent_to_has_no_mtu_but_a_reason():
    assert path_mtu(ANY, ("255.255.255.255", 9)) == RouteMtu(None, "it is a broadcast address")


def test_a_source_that_another_machine_has_is_left_out_of_the_question():
    assert path_mtu(("198.51.100.7", 4434), ("127.0.0.1", 9)).mtu_bytes


def test_asking_leaves_no_socket_open():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as before:
        number = before.fileno()
    for _ in range(3):
        is_local_ip("127.0.0.1")
        path_mtu(ANY, ("127.0.0.1", 9))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as after:
        assert after.fileno() == number
