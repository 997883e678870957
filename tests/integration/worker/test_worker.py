"""A worker in this process, on real sockets, called by the client."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from quiclb import CidDecoder, Decoded, QuicLbConfig
from tests.unit.voice_gateway.session.fakes import FakeAgent
from voice_client import AccessRefused, Flushed, SessionFailed, Speech, SpeechEnded, VoiceClient
from voice_client.options import grouped
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.errors import BindError, IdentityError
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.worker.worker import Worker

TOKEN = "sesame"
LOUD = (np.sin(np.arange(8_000) / 6) * 9000).astype("<i2").tobytes()
QUIET = bytes(16_000 * 2)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    ensure_certificate(folder, now=time.time())
    return folder


def settings(certificates: Path, **sections: dict[str, Any]) -> GatewaySettings:
    document: dict[str, Any] = {
        "worker": {"name": "worker-1", "server_id": "0000000a", "listen": "127.0.0.1:0"},
        "tls": {"certificate": certificates / "leaf.pem", "key": certificates / "leaf.key"},
        "config": [{"id": 2, "server_id_length": 4, "nonce_length": 12, "key": "00" * 16}],
        "agent": {"name": "echo"},
        "access": {"token": TOKEN},
        "admin": {"listen": "127.0.0.1:0"},
    }
    for name, section in sections.items():
        document[name] = document.get(name, {}) | section
    return GatewaySettings.model_validate(document)


@pytest.fixture
async def worker(certificates: Path) -> AsyncIterator[Worker]:
    worker = Worker(settings(certificates))
    await worker.start()
    yield worker
    await worker.stop(0.0)


def client(worker: Worker, certificates: Path, **changes: Any) -> VoiceClient:
    host, port = changes.pop("address", worker.addresses.direct)
    options = {"token": TOKEN, "ca_file": certificates / "ca.pem", "has_playback": False, "codec": "pcm16"}
    # on one connection, however long a busy machine lets it wait
    return VoiceClient(f"https://{host}:{port}/v1/voice", **grouped(options | {"resume_timeout_s": 0} | changes))


@asynccontextmanager
async def tapped(server: tuple[str, int]) -> AsyncIterator[tuple[tuple[str, int], list[bytes]]]:
    """Give the address of a hop in front of `server` for one client, and what the client sent through it."""
    seen: list[bytes] = []
    loop = asyncio.get_running_loop()

    class Hop(asyncio.DatagramProtocol):
        def __init__(self, opposite: Callable[[bytes, Any], None]) -> None:
            self.opposite = opposite

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.opposite(data, addr)

    callers: list[Any] = []

    def from_client(data: bytes, address: Any) -> None:
        seen.append(data)
        callers[:] = [address]
        outer.sendto(data)

    inner, _ = await loop.create_datagram_endpoint(lambda: Hop(from_client), local_addr=("127.0.0.1", 0))
    outer, _ = await loop.create_datagram_endpoint(
        lambda: Hop(lambda data, _: inner.sendto(data, callers[0])), remote_addr=server
    )
    try:
        yield inner.get_extra_info("sockname"), seen
    finally:
        inner.close()
        outer.close()


async def get(worker: Worker, path: str) -> tuple[int, str]:
    assert worker.addresses.admin
    reader, writer = await asyncio.open_connection(*worker.addresses.admin)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split(" ")[1]), body


def samples(text: str) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }


async def test_a_call_is_answered_saved_and_ended(worker: Worker, certificates: Path) -> None:
    async with client(worker, certificates) as call:
        call.send_pcm(LOUD + QUIET)
        await call.finish()
        report = call.report().as_json()
    assert report["ok"]
    assert report["worker"] == "worker-1"
    assert report["frames_acked"] == report["frames_sent"] == 75
    assert [line["role"] for line in report["transcript"]] == ["user", "agent"]
    assert report["state"]["utterances"] == 1
    assert report["played_ms"] > 400
    assert worker.sessions.count == 0


async def test_the_admin_interface_shows_the_call_without_its_words(worker: Worker, certificates: Path) -> None:
    async with client(worker, certificates) as call:
        events = call.events()
        call.send_pcm(LOUD + QUIET)
        async for event in events:
            if isinstance(event, SpeechEnded):
                break
        status, body = await get(worker, "/sessions")
        (session,) = json.loads(body)["sessions"]
        assert status == 200
        assert (session["id"], session["state"], session["turn"]) == (call.session, "active", 1)
        assert session["uplink"]["frames"] == 75
        assert len(session["uplink"]["largest_gaps"]) == 16
        assert "echo 1" not in body
        await call.finish()
    document = json.loads((await get(worker, "/sessions"))[1])
    assert document["sessions"] == []
    assert [ended["close_code"] for ended in document["ended"]] == ["normal"]
    metrics = samples((await get(worker, "/metrics"))[1])
    assert metrics["voice_sessions_started_total"] == 1
    assert metrics["voice_frames_received_total"] == 75
    assert metrics["voice_uplink_gap_seconds_count"] == 74
    assert metrics["voice_turns_total"] == 1
    assert metrics["quic_handshakes_completed_total"] == 1


async def test_a_migration_is_seen_and_breaks_nothing(worker: Worker, certificates: Path) -> None:
    async with client(worker, certificates) as call:
        call.send_pcm(LOUD)
        await call.migrate(local_address="127.0.0.2", keep_old_s=0.1)
        call.send_pcm(QUIET)
        await call.finish()
    (session,) = worker.sessions.ended()
    assert [migration.peer.rpartition(":")[0] for migration in session.migrations] == ["127.0.0.2"]
    assert session.acked_sequence == 74


async def test_a_caller_who_speaks_up_interrupts_the_answer(worker: Worker, certificates: Path) -> None:
    async with client(worker, certificates, has_playback=True) as call:
        events = call.events()
        call.send_pcm(LOUD * 3 + QUIET)
        async for event in events:
            if isinstance(event, Speech):
                call.send_pcm(LOUD)
            if isinstance(event, Flushed):
                break
        call.send_pcm(QUIET)
        await call.finish()
    counters = worker.sessions.counters
    assert (counters.interruptions, counters.turns, counters.replies) == (1, 2, 2)


async def test_connection_ids_name_the_worker(certificates: Path) -> None:
    """Seen from where a load balancer stands: every datagram of a client is routable once the handshake is done."""
    worker = Worker(settings(certificates))
    await worker.start()
    assert worker.addresses.direct
    async with (
        tapped(worker.addresses.direct) as (address, datagrams),
        client(worker, certificates, address=address) as call,
    ):
        call.send_pcm(LOUD)
        await call.finish()
    await worker.stop(0.0)
    decoder = CidDecoder([QuicLbConfig(2, 4, 12, bytes(16))])
    short = [datagram[1:18] for datagram in datagrams if not datagram[0] & 0x80]
    decoded = [decoder.decode(cid, is_long_header=False) for cid in short]
    assert len(short) > 10
    assert {each.server_id if isinstance(each, Decoded) else None for each in decoded} == {bytes.fromhex("0000000a")}


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_a_wrong_token_is_refused(worker: Worker, certificates: Path, token: str | None) -> None:
    with pytest.raises(AccessRefused):
        async with client(worker, certificates, token=token):
            pass


async def test_a_full_worker_refuses(certificates: Path) -> None:
    worker = Worker(settings(certificates, session={"max_sessions": 1}))
    await worker.start()
    try:
        async with client(worker, certificates):
            with pytest.raises(SessionFailed, match=r"overloaded \(all 1 sessions are taken\)"):
                async with client(worker, certificates):
                    pass
    finally:
        await worker.stop(0.0)


async def test_an_unknown_agent_is_named_in_the_error(worker: Worker, certificates: Path) -> None:
    with pytest.raises(SessionFailed, match="echo"):
        async with client(worker, certificates, agent="florist"):
            pass


async def test_stop_lets_a_call_end_first(certificates: Path) -> None:
    worker = Worker(settings(certificates))
    await worker.start()
    async with client(worker, certificates) as call:
        call.send_pcm(LOUD)
        stopping = asyncio.create_task(worker.stop(10.0))
        await asyncio.sleep(0.05)
        assert (await get(worker, "/readyz"))[0] == 503
        call.send_pcm(QUIET)
        await call.finish()
        assert call.is_finished
    await stopping


async def test_stop_ends_calls_at_the_deadline(certificates: Path) -> None:
    worker = Worker(settings(certificates))
    await worker.start()
    async with client(worker, certificates) as call:
        await worker.stop(0.0)
        with pytest.raises(Exception, match="going away"):
            await call.finish()
    await worker.stop(0.0)


async def test_a_port_in_use_is_one_sentence_and_leaves_nothing_open(worker: Worker, certificates: Path) -> None:
    assert worker.addresses.direct
    assert worker.addresses.admin
    for section in (
        {"worker": {"listen": worker.addresses.direct}},
        {"admin": {"listen": worker.addresses.admin}},
    ):
        agent = FakeAgent()
        second = Worker(settings(certificates, **section), agent=agent)
        with pytest.raises(BindError, match="in use"):
            await second.start()
        assert not agent.is_open
        assert second.addresses.direct is None or section.get("admin")


async def test_a_missing_certificate_is_one_sentence(certificates: Path) -> None:
    good = settings(certificates)
    bad = good.model_copy(update={"tls": good.tls.model_copy(update={"certificate": certificates / "none.pem"})})
    with pytest.raises(IdentityError, match=r"none\.pem"):
        Worker(bad)
