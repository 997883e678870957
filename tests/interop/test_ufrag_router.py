"""The router that benchmarks put in front of pion: a well-made peer, or what is measured beside it says nothing."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.peers.ways import build_router
from bench.routing.memory import binding_request
from quiclb.net.address import Address, format_address
from testbed.ports import free_port
from testbed.redis_server import RedisServer, redis_server
from tests.browser.programs import missing

pytestmark = pytest.mark.timeout(300)  # Go fetches the router's modules the first time
UFRAG = "memory"
MEDIA = b"\x80media"
WAIT_S = 20.0


@pytest.fixture(scope="module")
def program() -> Path:
    if shutil.which("go") is None:
        missing("Go 1.25 or newer is missing")
    return build_router()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def backend() -> Iterator[socket.socket]:
    with udp() as sock:
        yield sock


@contextmanager
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(WAIT_S)
        yield sock


@contextmanager
def routing(program: Path, redis: RedisServer, vip: Address, keeps: str = "stun") -> Iterator[None]:
    command = [str(program), format_address(vip), f"127.0.0.1:{redis.port}", keeps]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


def register(redis: RedisServer, backend: socket.socket) -> None:
    redis.ask("SET", f"ufrag:{UFRAG}", format_address(backend.getsockname()))


def is_silent(backend: socket.socket) -> bool:
    backend.settimeout(0.3)
    try:
        backend.recvfrom(2048)
    except TimeoutError:
        return True
    finally:
        backend.settimeout(WAIT_S)
    return False


def test_binding_request_opens_a_flow_by_which_media_pass_both_ways(
    program: Path, redis: RedisServer, backend: socket.socket
) -> None:
    register(redis, backend)
    vip = ("127.0.0.1", free_port())
    with routing(program, redis, vip), udp() as client:
        client.sendto(MEDIA, vip)
        assert is_silent(backend)
        client.sendto(request := binding_request(), vip)
        received, flow = backend.recvfrom(2048)
        assert received == request
        client.sendto(MEDIA, vip)
        assert backend.recvfrom(2048) == (MEDIA, flow)
        backend.sendto(b"answer", flow)
        assert client.recvfrom(2048) == (b"answer", vip)


def test_unknown_fragment_opens_no_flow(program: Path, redis: RedisServer, backend: socket.socket) -> None:
    vip = ("127.0.0.1", free_port())
    with routing(program, redis, vip), udp() as client:
        client.sendto(binding_request(), vip)
        assert is_silent(backend)
        register(redis, backend)  # as a backend does once Redis is back
        client.sendto(request := binding_request(), vip)
        assert backend.recvfrom(2048)[0] == request


def test_client_that_moves_needs_no_redis(program: Path, redis: RedisServer, backend: socket.socket) -> None:
    register(redis, backend)
    vip = ("127.0.0.1", free_port())
    with routing(program, redis, vip), udp() as before, udp() as after:
        before.sendto(binding_request(), vip)
        _, first = backend.recvfrom(2048)
        redis.stop()
        after.sendto(binding_request(), vip)
        assert backend.recvfrom(2048)[1] != first


@pytest.mark.parametrize(("keeps", "is_restored"), [("flows", True), ("stun", False)])
def test_restarted_router_restores_the_flows_that_redis_has(
    program: Path, redis: RedisServer, backend: socket.socket, keeps: str, *, is_restored: bool
) -> None:
    register(redis, backend)
    vip = ("127.0.0.1", free_port())
    with udp() as client:
        with routing(program, redis, vip, keeps):
            client.sendto(binding_request(), vip)
            _, flow = backend.recvfrom(2048)
            key = f"flow:{format_address(client.getsockname())}"
            deadline = time.monotonic() + WAIT_S
            while is_restored and redis.ask("EXISTS", key) != "1":
                assert time.monotonic() < deadline, "the router saves the flow"
                time.sleep(0.01)
        with routing(program, redis, vip, keeps):
            client.sendto(MEDIA, vip)
            if is_restored:
                assert backend.recvfrom(2048) == (MEDIA, flow)
            else:
                assert is_silent(backend)
