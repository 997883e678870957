"""Who may come in, on every way in: WebTransport, WebSocket, telephone, straight or through a load balancer."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from quiclb import SppHeader, wrap
from testbed.ports import free_port
from testbed.waiting import until
from tests.integration.support.relay import relaying
from tests.integration.support.telephone import FAST_S, LOUD, QUIET
from tests.integration.support.udp import Client, FakeLoadBalancer, Socket, initial
from tests.unit.voice_gateway.access.access_keys import SECRET, pair
from voice_client import (
    AccessRefused,
    AudioOptions,
    ConnectionOptions,
    Security,
    SessionFailed,
    SessionRefused,
    VoiceClient,
)
from voice_gateway.access.keys import signing_key
from voice_gateway.access.tokens import mint
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.telephony.vendors.twilio_simulator.simulated_call import TwilioCall, TwilioSimulator
from voice_gateway.worker.worker import Worker
from voicelink.h3.webtransport import SessionOpened

AUDIENCE = "voice.example"
SHOP = "https://shop.example"
TONE = b"\x00\x20\x00\xe0" * 8_000


@asynccontextmanager
async def working(folder: Path, clock: Callable[[], float] = time.time, **sections: Any) -> AsyncIterator[Worker]:
    ensure_certificate(folder, now=time.time())
    (folder / "old.key").write_text(SECRET)
    (folder / "new.pub").write_text(pair()[1])
    document: dict[str, Any] = {
        "worker": {"listen": "127.0.0.1:0"},
        "tls": {"certificate": folder / "leaf.pem", "key": folder / "leaf.key"},
        "agent": {"name": "echo"},
        "websocket": {"listen": "127.0.0.1:0"},
        "telephony": {"listen": "127.0.0.1:0", "tls": False},
        "access": {"key_files": [folder / "old.key", folder / "new.pub"], "audience": AUDIENCE},
    }
    for name, section in sections.items():
        document[name] = document.get(name, {}) | section
    worker = Worker(GatewaySettings.model_validate(document), clock=clock)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop(0.0)


def token(subject: str = "alice", *, is_new: bool = True, **changes: Any) -> str:
    key = signing_key("new", pair()[0]) if is_new else signing_key("old", SECRET)
    options: dict[str, Any] = {"subject": subject, "now": time.time(), "lifetime_s": 60.0, "audience": AUDIENCE}
    return mint(key, **options | changes)


def client(worker: Worker, folder: Path, shown: Any, address: Any = None, **connection: Any) -> VoiceClient:
    host, port = address or worker.addresses.direct or ("", 0)
    url = f"https://{host}:{port}/v1/voice"
    return VoiceClient(
        url,
        security=Security(token=shown, ca_file=folder / "ca.pem"),
        audio=AudioOptions(has_playback=False, codec="pcm16"),
        connection=ConnectionOptions(**connection),
    )


def dialled(worker: Worker, folder: Path, query: str = "", **headers: str) -> connect:
    assert worker.addresses.websocket
    host, port = worker.addresses.websocket
    tls = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    return connect(f"wss://{host}:{port}/v1/voice{query}", ssl=tls, additional_headers=headers)


def rung(worker: Worker, path: str = "/v1/twilio", **changes: Any) -> TwilioSimulator:
    assert worker.addresses.telephony
    host, port = worker.addresses.telephony
    scheme = "ws" if path == "/v1/twilio" else "http"
    return TwilioSimulator(TwilioCall(f"{scheme}://{host}:{port}{path}", **changes), tick_s=FAST_S)


BAD = {
    "an access token is needed": None,
    "is not a signed token": "sesame",
    "has expired": token(now=time.time() - 3600),
    "is not valid yet": token(starts_in_s=3600),
    "is for another audience": token(audience="elsewhere"),
    "is not signed by a key": mint(signing_key("new", pair("foreign")[0]), subject="a", now=time.time(), lifetime_s=60),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worker")


async def test_webtransport_says_why_it_refuses_and_lets_the_others_in(folder: Path) -> None:
    async with working(folder) as worker:
        for reason, shown in BAD.items():
            with pytest.raises(AccessRefused, match="wants an access token" if shown is None else reason):
                async with client(worker, folder, shown):
                    pass
        for is_new in (False, True):
            async with client(worker, folder, token(is_new=is_new)) as call:
                call.send_pcm(TONE + bytes(32_000))
                await call.finish()
        assert call.report().is_complete
        assert sum(worker.sessions.counters.refused.values()) == len(BAD)
        assert {status for status, _ in worker.sessions.counters.refused} == {401}


async def test_websocket_refuses_by_status_and_header(folder: Path) -> None:
    async with working(folder, limits={"subject_attempts_per_s": 0.01}) as worker:
        for reason, shown in BAD.items():
            with pytest.raises(InvalidStatus) as refused:
                await dialled(worker, folder, **({} if shown is None else {"Authorization": f"Bearer {shown}"}))
            assert refused.value.response.status_code == 401
            challenge = refused.value.response.headers["WWW-Authenticate"]
            assert challenge.startswith('Bearer realm="voice"')
            assert (reason in challenge) == (shown is not None)
        with pytest.raises(InvalidStatus) as refused:
            await dialled(worker, folder, f"?token={token(origins=[SHOP])}", Origin="https://evil.example")
        assert refused.value.response.status_code == 403
        assert 'error="insufficient_scope"' in refused.value.response.headers["WWW-Authenticate"]
        async with dialled(worker, folder, f"?token={token(origins=[SHOP])}", Origin=SHOP):
            worker.sessions.is_draining = True
            for subject, status, wait_s in (("alice", 429, 100), ("bob", 503, 1)):
                with pytest.raises(InvalidStatus) as refused:
                    await dialled(worker, folder, f"?token={token(subject)}")
                assert refused.value.response.status_code == status
                assert wait_s * 0.8 < int(refused.value.response.headers["Retry-After"]) <= wait_s


async def test_a_telephone_call_shows_its_token_as_a_parameter(folder: Path) -> None:
    async with working(folder) as worker:
        for shown in BAD.values():
            result = await rung(worker, parameters={} if shown is None else {"token": shown}).run(LOUD)
            assert "1008" in (result.closed or "")
        result = await rung(worker, parameters={"token": token()}).run(LOUD + QUIET)
        assert result.is_answered


async def test_a_call_that_twilio_signed_is_given_its_token_by_the_worker(folder: Path) -> None:
    port = free_port()
    async with working(
        folder,
        telephony={"auth_token": "12345", "listen": f"127.0.0.1:{port}", "public_url": f"http://127.0.0.1:{port}"},
    ) as worker:
        result = await rung(worker, "/twiml", auth_token="12345").run(LOUD + QUIET)
        assert result.is_answered
        assert worker.sessions.counters.refused == {}


async def test_the_agent_of_a_token_is_the_worker_s(folder: Path) -> None:
    async with working(folder) as worker:
        with pytest.raises(AccessRefused, match="other agents"):
            async with client(worker, folder, token(agents=["florist"])):
                pass


async def test_the_sdk_says_which_limit_it_met(folder: Path) -> None:
    async with working(folder, limits={"subject_sessions": 1}) as worker:
        async with client(worker, folder, token()):
            with pytest.raises(SessionFailed, match=r"overloaded .*sessions of one subject at a time: at most 1"):
                async with client(worker, folder, token()):
                    pass
        async with client(worker, folder, token("bob")):
            pass


async def test_a_caller_that_comes_back_shows_a_fresh_token(folder: Path) -> None:
    """The first token has expired by then; with that alone the call would be over, as the second part shows."""
    past = [0.0]
    shown: list[float] = []

    def fresh() -> str:
        shown.append(past[0])
        return token(now=time.time() + past[0])

    async with (
        working(folder, lambda: time.time() + past[0]) as worker,
        relaying(worker.addresses.direct) as relay,
    ):
        address = ("127.0.0.1", relay.port)
        async with client(worker, folder, fresh, address) as call, client(worker, folder, token(), address) as stale:
            past[0] = 3600.0
            relay.cut()
            call.send_pcm(TONE + bytes(32_000))
            with pytest.raises(AccessRefused, match="has expired"):
                await stale.finish()
            await call.finish()
        assert call.resumes
        assert set(shown) == {0.0, 3600.0}
        assert call.report().is_complete


async def test_keys_are_rotated_while_calls_go_on(folder: Path) -> None:
    async with working(folder) as worker:
        async with client(worker, folder, token(is_new=False)) as call:
            (folder / "old.key").write_text("another secret of more than 32 bytes")
            with capture_logs() as logs:
                worker.reloader.reload()
            assert {(line["event"], line["what"]) for line in logs if "what" in line} >= {("reloaded", "access")}
            with pytest.raises(AccessRefused, match="not signed by a key"):
                async with client(worker, folder, token(is_new=False)):
                    pass
            (folder / "old.key").write_text("short")
            worker.reloader.reload()
            assert worker.reloader.counts["access", "refused"] == 1
            async with client(worker, folder, token()):
                pass
            call.send_pcm(TONE + bytes(32_000))
            await call.finish()
        assert call.report().is_complete


FLOOD = 300


async def test_a_flood_of_handshakes_is_met_by_retries_and_harms_no_call(folder: Path) -> None:
    """Spoofed addresses through a load balancer; a call goes on in real time, and a newcomer gets in."""
    patience = {"handshake_timeout_s": 60, "loaded_handshake_timeout_s": 60}
    quic = {"retry_after_half_open": 8, "max_half_open": 32, **patience}
    worker_section = {"inner": "127.0.0.1:0", "trusted_proxies": ["127.0.0.1"]}
    async with working(folder, quic=quic, worker=worker_section) as worker:
        endpoint = worker.endpoint
        assert endpoint.inner_address
        flooder = await Socket.open(lambda datagram, _: None)
        packets = [initial(seed) for seed in range(FLOOD)]
        async with client(worker, folder, token(), resume_timeout_s=0) as call:
            speaking = asyncio.create_task(call.speak(TONE * 2 + bytes(32_000)))
            for number, packet in enumerate(packets):
                spoofed = (f"198.51.{number // 200}.{number % 200 + 1}", 1024 + number)
                flooder.send(wrap(SppHeader(spoofed, ("192.0.2.1", 443)), packet), endpoint.inner_address)
                if number % 10 == 0:
                    await asyncio.sleep(0.01)
            async with client(worker, folder, token("bob")) as newcomer:
                await newcomer.ping()
            await speaking
            await call.finish()
        flooder.close()
        counters = endpoint.counters
        assert counters.retries_sent >= FLOOD - 8 - counters.malformed
        assert counters.retry_tokens_accepted == 1
        assert endpoint.half_open_count <= 32
        assert call.report().is_complete
        assert counters.internal_errors == 0


async def test_behind_a_load_balancer_each_client_has_its_own_limit(folder: Path) -> None:
    limits = {"address_attempts_per_s": 0.01}  # one, then Retry, then one more
    worker_section = {"listen": None, "inner": "127.0.0.1:0", "trusted_proxies": ["127.0.0.1"]}
    async with working(folder, worker=worker_section, limits=limits) as worker:
        endpoint = worker.endpoint
        assert endpoint.inner_address
        balancer = await FakeLoadBalancer(endpoint.inner_address, ("192.0.2.1", 443)).open()
        flooder = await Socket.open(lambda datagram, _: None)
        for seed in range(5):
            for host in ("198.51.100.7", "2001:db8::7"):
                header = SppHeader((host, 5000 + seed), ("192.0.2.1" if "." in host else "2001:db8::1", 443))
                flooder.send(wrap(header, initial(seed + (50 if "." in host else 0))), endpoint.inner_address)
        await until(lambda: endpoint.counters.datagrams_received == 10)
        assert endpoint.counters.retries_for_address == 8
        assert endpoint.half_open_count == 2

        front = await Socket.open(lambda datagram, address: balancer.forward(datagram, address))
        balancer.outside = front
        honest = await Client(front.address).connect()
        await until(lambda: honest.has(SessionOpened) or endpoint.counters.handshakes_completed)
        assert endpoint.counters.retries_for_address == 8
        assert endpoint.counters.refused_address == 0
        for socket in (flooder, front, balancer.inner):
            socket.close()
        honest.close()


async def test_an_address_that_is_proven_and_goes_on_is_refused(folder: Path) -> None:
    async with working(folder, access={"key_files": []}, limits={"address_attempts_per_s": 0.01}) as worker:
        async with client(worker, folder, None):
            pass
        with pytest.raises(SessionRefused, match=r"429\); try again in \d+ s") as refused:
            async with client(worker, folder, None):
                pass
        assert refused.value.retry_after_s
        assert worker.endpoint.counters.retries_for_address >= 1
        with pytest.raises(SessionRefused, match="takes no more calls now"):
            async with client(worker, folder, None):
                pass
        assert worker.endpoint.counters.refused_address >= 1
