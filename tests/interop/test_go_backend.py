"""The example of deploy/quiclb/backends.md, a backend in Go, is compiled and serves behind a real load balancer."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quiclb import CidEncoder, LoadBalancer, QuicLbConfig, Settings, SppHeader, wrap
from quiclb.cli.scrape import scrape
from quiclb.net.address import Address, format_address, parse_address

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "deploy" / "quiclb" / "backends.md"
EXAMPLE = ROOT / "deploy" / "quiclb" / "example"
KEY = "8f95f09245765f80256934e50c66207f"
TIMEOUT_S = 30.0

pytestmark = pytest.mark.timeout(300)  # Go compiles its own library first
needs_go = pytest.mark.skipif(not os.environ.get("STRICT") and shutil.which("go") is None, reason="Go is not installed")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("go") / "spp"
    environ = os.environ | {"GOFLAGS": "-buildvcs=false", "GOCACHE": str(built.parent / "cache")}
    subprocess.run(["go", "vet", "."], cwd=EXAMPLE, env=environ, check=True)
    subprocess.run(["go", "build", "-o", str(built), "."], cwd=EXAMPLE, env=environ, check=True)
    return built


@contextmanager
def backend(program: Path, *flags: str) -> Iterator[tuple[Address, bytes]]:
    """Run the example; yields its address and the connection ID it answers to."""
    command = [str(program), "-listen", "127.0.0.1:0", "-key", KEY, *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address, cid = process.stdout.readline().split()
            yield parse_address(address), bytes.fromhex(cid)
        finally:
            process.kill()


def settings(address: Address) -> Settings:
    return Settings.model_validate(
        {
            "forwarder": {
                "listen": "127.0.0.1:0",
                "inner": "127.0.0.1:0",
                "metrics": "127.0.0.1:0",
                "allow_loopback_clients": True,
            },
            "health": {"interval_s": 0.1},
            "config": [{"id": 0, "server_id_length": 4, "nonce_length": 12, "key": KEY}],
            "backend": [{"name": "go-1", "address": format_address(address), "server_ids": {0: "00000001"}}],
        }
    )


@needs_go
async def test_a_go_backend_is_probed_up_and_answers_a_client_by_its_connection_id(program: Path) -> None:
    with backend(program) as (address, cid), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.settimeout(TIMEOUT_S)
        balancer = LoadBalancer(settings(address))
        await balancer.start()
        try:
            assert balancer.metrics is not None
            async with asyncio.timeout(TIMEOUT_S):
                while await health(balancer.metrics) != "up":  # noqa: ASYNC110 - metrics have no event
                    await asyncio.sleep(0.05)
            client.sendto(b"\x40" + cid + bytes(30), balancer.vip)
            reply, source = await asyncio.to_thread(client.recvfrom, 2048)
            assert source == balancer.vip
            assert reply.decode() == f"@ for {format_address(client.getsockname())}"
            assert balancer.counters.packets == {("routable", "ok"): 1}
            assert balancer.counters.replies == {("sent", "ok"): 1}
        finally:
            await balancer.stop()


async def health(metrics: Address) -> str:
    sample = await scrape(f"http://{format_address(metrics)}/metrics")
    [(found,)] = sample.totals("quiclb_backend_info", "health")
    return found


@needs_go
def test_a_go_backend_believes_no_header_of_another_host(program: Path) -> None:
    with backend(program) as (address, cid):
        packet = b"\x40" + cid + bytes(30)
        header = SppHeader(("198.51.100.7", 40001), ("192.0.2.1", 443))
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as untrusted,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as balancer,
        ):
            untrusted.bind(("127.0.0.2", 0))
            balancer.bind(("127.0.0.1", 0))
            balancer.settimeout(TIMEOUT_S)
            untrusted.setblocking(False)
            untrusted.sendto(wrap(header, packet), address)
            balancer.sendto(packet, address)
            balancer.sendto(wrap(header, packet), address)
            assert balancer.recv(2048) == wrap(header, b"@ for 198.51.100.7:40001")
            with pytest.raises(BlockingIOError):
                untrusted.recv(2048)


@needs_go
def test_the_example_of_the_page_encodes_the_drafts_vector(program: Path) -> None:
    flags = ("-server-id", "ed793a51d49b8f5f", "-nonce", "ee080dbf48c0d1e5")
    with backend(program, *flags) as (_, cid):
        # the draft's vector has config 2, the example config 0
        assert cid.hex() == "10" + "504dd2d05a7b0de9b2b9907afb5ecf8cc3"[2:]


def test_the_page_shows_what_the_code_makes() -> None:
    page = PAGE.read_text()
    layout = QuicLbConfig(config_id=2, server_id_length=8, nonce_length=8, key=bytes.fromhex(KEY))
    encoder = CidEncoder(layout, bytes.fromhex("ed793a51d49b8f5f"), rng=bytes)
    assert f"| connection ID | `{encoder.encode_nonce(bytes.fromhex('ee080dbf48c0d1e5')).hex()}` |" in page
    shown = re.search(r"^56ec [0-9a-f ]+$", page, re.MULTILINE)
    assert shown is not None
    header = wrap(SppHeader(("198.51.100.7", 40001), ("192.0.2.1", 443)), b"")
    assert shown.group().replace(" ", "") == header.hex()
    assert "1,434 bytes of UDP payload by IPv4 and 1,414 by IPv6" in page  # 1,500 less IP, UDP and the header
    assert (1500 - 20 - 8 - len(header), 1500 - 40 - 8 - len(header)) == (1434, 1414)
