"""RFC 9000 14.1: a client's first datagram has 1,200 bytes of UDP payload; SPP and the headers come on top."""

from __future__ import annotations

import asyncio

import pytest
import structlog.testing

from quiclb.control.path_watch import PathWatch, needed_bytes, path_fault
from quiclb.control.table_controller import PATHS_AGAIN_S, TableController
from quiclb.daemon.control_metrics import ControlCollector
from quiclb.daemon.metrics import collector_renderer
from quiclb.net.kernel.routes import RouteMtu
from quiclb.routing.pool import Backend
from tests.unit.quiclb.control.test_table_controller import settings
from tests.unit.quiclb.virtual import on_virtual_time

IPV4, IPV6 = Backend("a", ("10.0.0.11", 4433)), Backend("b", ("2001:db8::2", 4433))
INNER = ("::", 4434)
LOST = "clients' first datagrams do not reach a backend"
GOOD = "path to a backend is good again"


def test_a_path_needs_1200_bytes_the_spp_header_and_the_headers_of_udp_and_ip():
    assert needed_bytes(IPV4.address) == 1200 + 38 + 8 + 20 == 1266
    assert needed_bytes(IPV6.address) == 1200 + 38 + 8 + 40 == 1286


@pytest.mark.parametrize(("backend", "needed"), [(IPV4, 1266), (IPV6, 1286)])
def test_one_byte_decides(backend, needed):
    assert path_fault(backend, RouteMtu(needed)) is None
    fault = path_fault(backend, RouteMtu(needed - 1))
    assert fault is not None
    assert f"{needed} bytes needed, the route's MTU is {needed - 1}" in fault


def test_a_path_without_a_route_is_named_with_the_kernels_reason():
    assert path_fault(IPV4, RouteMtu(None, "network is unreachable")) == (
        "nothing can be sent to backend 'a' at 10.0.0.11:4433: network is unreachable"
    )


def test_each_backend_is_logged_once_and_again_when_its_path_changed():
    mtus = {IPV4.address: 1500, IPV6.address: 1280}
    watch = PathWatch(INNER, lambda _, address: RouteMtu(mtus[address]))
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            watch.look([IPV4, IPV6])
        assert [(line["event"], line["backend"], line["needed_bytes"]) for line in logs] == [(LOST, "b", 1286)]
        mtus[IPV6.address] = 1285
        watch.look([IPV4, IPV6])
        mtus[IPV6.address] = 1286
        watch.look([IPV4, IPV6])
        assert not watch.has_fault
        mtus[IPV6.address] = 1280
        watch.look([IPV6])
    assert [line["event"] for line in logs] == [LOST, LOST, GOOD, LOST]


def test_a_backend_that_left_is_forgotten_and_logged_again_when_it_is_back():
    watch = PathWatch(INNER, lambda _, address: RouteMtu(1280))
    with structlog.testing.capture_logs() as logs:
        watch.look(watch.keep([IPV4, IPV6]))
        assert watch.keep([IPV4, IPV6]) == []
        assert watch.keep([IPV4]) == []
        assert not watch.has_fault
        watch.look(watch.keep([IPV4, IPV6]))
    assert [line["backend"] for line in logs] == ["b", "b"]


@on_virtual_time
async def test_paths_are_compared_at_start_after_too_large_and_while_one_is_narrow():
    asked, mtu = [], 1500

    def ask(inner, address):
        asked.append(address)
        return RouteMtu(mtu)

    controller = TableController(settings(), lambda spec: None, path_mtu=ask)
    with structlog.testing.capture_logs() as logs:
        await controller.start()
        logs.clear()  # of the backends that were added
        assert len(asked) == 2
        await asyncio.sleep(100)
        assert (len(asked), logs) == (2, [])
        mtu = 1200
        for _ in range(1000):
            controller.too_large()
        await asyncio.sleep(0.1)
        assert len(asked) == 4
        assert [line["event"] for line in logs] == [LOST] * 2
        text = collector_renderer(ControlCollector(controller))().decode()
        assert 'quiclb_backend_path_mtu_bytes{backend="b1"} 1200.0' in text.splitlines()
        for _ in range(90):
            controller.too_large()
            await asyncio.sleep(0.01)
        assert len(asked) == 4
        await asyncio.sleep(0.2)
        assert len(asked) == 6
        mtu = 1500
        await asyncio.sleep(PATHS_AGAIN_S + 1)
        assert [line["event"] for line in logs] == [LOST] * 2 + [GOOD] * 2
        await asyncio.sleep(100)
        assert len(asked) == 8
        await controller.stop()
        controller.too_large()
        await asyncio.sleep(1)
        assert len(asked) == 8
