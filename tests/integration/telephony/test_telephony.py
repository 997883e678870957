"""A worker in this process, called over real sockets by what plays Twilio's side."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.support.telephone import (
    AUTH_TOKEN,
    FAST_S,
    LOUD,
    QUIET,
    TOKEN,
    Line,
    at,
    call,
    emptied,
    line,
    serving,
)
from tests.unit.recordings import ROOT
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.errors import BindError
from voice_gateway.telephony.vendors.twilio import signature
from voice_gateway.telephony.vendors.twilio_simulator.plan import SimulationError, fetch, read_plan
from voice_gateway.telephony.vendors.twilio_simulator.simulated_call import TwilioCall, TwilioSimulator
from voice_gateway.telephony.vendors.twilio_simulator.sound import read_telephone_wav, telephone_wav
from voice_gateway.worker.worker import Worker
from voicelink.audio.codecs.g711 import pcmu_decode


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    ensure_certificate(folder, now=time.time())
    return folder


@pytest.fixture
async def worker(certificates: Path) -> AsyncIterator[Worker]:
    async with serving(certificates) as worker:
        yield worker


async def begun(worker: Worker) -> None:
    async with asyncio.timeout(30):
        while not worker.sessions.count:  # noqa: ASYNC110 - the start is on its way
            await asyncio.sleep(0.01)


async def test_a_call_is_answered_and_ended(worker: Worker) -> None:
    simulator = TwilioSimulator(call(worker), tick_s=FAST_S)
    result = await simulator.run(LOUD + QUIET)
    await emptied(worker)
    assert result.is_answered
    assert result.closed is None
    assert 900 <= result.played_ms <= 2_500
    assert result.marks_played > 4
    (session,) = worker.sessions.ended()
    assert (session.transport, session.turn, session.close_reason) == ("twilio", 1, "bye")
    assert session.uplink.frames == result.frames_sent
    assert worker.sessions.counters.accepted == {"twilio": 1}
    recorded = np.frombuffer(pcmu_decode(simulator.recording), "<i2")
    assert np.abs(recorded).max() > 7_000


async def test_a_call_over_tls_with_a_signature_that_leaves_out_the_port(certificates: Path) -> None:
    async with serving(certificates, tls=True) as worker:
        tls = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
        simulator = TwilioSimulator(call(worker, "https"), tls=tls, tick_s=FAST_S)
        assert (await simulator.run(LOUD + QUIET)).is_answered
        url = at(worker, "/v1/twilio", "wss")
        headers = {"X-Twilio-Signature": signature(AUTH_TOKEN, "wss://127.0.0.1/v1/twilio")}
        async with connect(url, ssl=tls, additional_headers=headers) as socket:
            await Line(socket).start()


async def test_a_public_address_is_what_is_signed(certificates: Path) -> None:
    public = "https://gw.example.com"
    async with serving(certificates, public_url=public) as worker:
        headers = {"X-Twilio-Signature": signature(AUTH_TOKEN, "wss://gw.example.com/v1/twilio")}
        async with connect(at(worker, "/v1/twilio", "ws"), additional_headers=headers) as socket:
            await Line(socket).start()
        with pytest.raises(InvalidStatus):
            async with line(worker):
                pass


async def test_a_caller_who_speaks_up_interrupts_by_clear(worker: Worker) -> None:
    async with line(worker) as caller:
        await caller.start()
        await caller.say(LOUD * 2 + QUIET)
        first = await caller.next("mark")
        await caller.event("mark", mark=first["mark"])
        await caller.say(LOUD)
        await caller.next("clear")
        await caller.event("mark", mark={"name": "1:220"})
        await caller.event("stop")
        await emptied(worker)
    counters, telephony = worker.sessions.counters, worker.listeners.telephony_counters
    assert (counters.interruptions, counters.replies) == (1, 2)
    assert (telephony.clears, telephony.marks_played, telephony.marks_cleared) == (1, 1, 1)


async def test_a_call_that_breaks_off_ends_its_session(worker: Worker) -> None:
    async with line(worker) as caller:
        await caller.start()
        await caller.say(LOUD)
        await begun(worker)
        caller.socket.transport.abort()
    await emptied(worker)
    assert [session.close_reason for session in worker.sessions.ended()] == ["the caller did not come back"]


@pytest.mark.parametrize("auth_token", [None, "12346"])
async def test_a_wrong_signature_is_forbidden(worker: Worker, auth_token: str | None) -> None:
    with pytest.raises(SimulationError, match="403"):
        await TwilioSimulator(call(worker, auth_token=auth_token)).run(LOUD)
    stream = TwilioCall(at(worker, "/v1/twilio", "ws"), auth_token=auth_token)
    with pytest.raises(SimulationError, match="403"):
        await TwilioSimulator(stream).run(LOUD)
    assert worker.listeners.telephony_counters.refused_signatures == 2
    assert worker.sessions.counters.accepted == {}


async def test_a_stream_without_the_access_token_is_closed(worker: Worker) -> None:
    stream = TwilioCall(at(worker, "/v1/twilio", "ws"), auth_token=AUTH_TOKEN)
    result = await TwilioSimulator(stream).run(LOUD)
    assert result.closed is not None
    assert "1008" in result.closed
    assert worker.sessions.counters.refused == {(401, "token_missing"): 1}


async def test_nonsense_is_skipped_and_the_call_goes_on(worker: Worker) -> None:
    async with line(worker) as caller:
        await caller.event("media", media={"timestamp": "0", "payload": "AAAA"})
        await caller.start()
        await caller.start()
        await caller.socket.send("{")
        await caller.socket.send(b"\x00" * 160)
        await caller.event("transcription")
        await caller.event("media", media={"timestamp": "0", "payload": "AAA"})
        await caller.event("media", media={"timestamp": "soon", "payload": "AAAA"})
        await caller.event("media", "MZ9", media={"timestamp": "0", "payload": "AAAA"})
        await caller.say(LOUD + QUIET)
        await caller.next("media")
        await caller.event("stop")
        await caller.say(LOUD)
        await emptied(worker)
    assert worker.listeners.telephony_counters.skipped == {
        "before_start": 1,
        "second_start": 1,
        "malformed": 2,
        "binary": 1,
        "unknown_event": 1,
        "bad_payload": 1,
        "wrong_stream": 1,
        "after_stop": 50,
    }
    (session,) = worker.sessions.ended()
    assert (session.turn, session.close_reason) == (1, "bye")


async def test_ten_megabytes_are_refused_and_cost_one_connection(worker: Worker) -> None:
    async with line(worker) as patient:
        await patient.start()
        url = at(worker, "/v1/twilio", "ws")
        head = (
            f"GET /v1/twilio HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"X-Twilio-Signature: {signature(AUTH_TOKEN, url)}\r\n\r\n"
        )
        assert worker.addresses.telephony
        reader, writer = await asyncio.open_connection(*worker.addresses.telephony)
        writer.write(head.encode())
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x81\xff" + (10_000_000).to_bytes(8, "big") + bytes(4) + b"x" * 10_000_000)
        async with asyncio.timeout(30):
            close = await reader.readexactly(4)
        assert (close[0], int.from_bytes(close[2:4], "big")) == (0x88, 1009)
        writer.transport.abort()
        await patient.say(LOUD + QUIET)
        await patient.next("media")
    assert worker.listeners.telephony_counters.skipped == {"too_large": 1}


async def test_a_message_in_fragments_is_put_together(worker: Worker) -> None:
    async with line(worker) as caller:
        await caller.start()
        text = json.dumps({"event": "dtmf", "streamSid": "MZ1", "dtmf": {"digit": "5"}})
        await caller.socket.send([text[:10], "", text[10:30], text[30:]])
        await caller.socket.ping()
        await caller.event("stop")
        await emptied(worker)
    assert worker.listeners.telephony_counters.digits == 1


async def test_stop_ends_calls_with_a_close_that_says_why(certificates: Path) -> None:
    async with serving(certificates) as worker, line(worker) as caller:
        await caller.start()
        await begun(worker)
        await worker.stop(0.0)
        with pytest.raises(ConnectionClosed) as closed:
            await caller.socket.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "this worker is going away")


async def test_a_port_in_use_is_one_sentence(worker: Worker, certificates: Path) -> None:
    with pytest.raises(BindError, match=r"telephony\.listen: .*in use"):
        async with serving(certificates, listen=worker.addresses.telephony):
            pass


async def test_the_spoken_order_is_complete_over_the_telephone(certificates: Path) -> None:
    async with serving(certificates, agent="order") as worker:
        saved: list[dict[str, Any]] = []
        store = worker._store
        save = store.save

        async def spy(record: Any) -> None:
            saved.append(dict(record.state))
            await save(record)

        store.save = spy  # type: ignore[method-assign]
        simulator = TwilioSimulator(call(worker), tick_s=0.01)
        result = await simulator.run(read_telephone_wav(ROOT / "deploy/local/caller.wav"))
        await emptied(worker)
    assert result.is_answered
    assert result.played_ms > 5_000
    assert result.clears == 1, "the caller speaks into the greeting"
    items = [(item["drink"], item["size"], item["milk"], item["sugar_percent"]) for item in saved[-1]["items"]]
    assert items == [("taro milk tea", "large", "oat", 75), ("matcha latte", "medium", "whole", 100)]


async def test_the_command_prints_and_records_what_the_caller_heard(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "said.wav").write_bytes(telephone_wav(LOUD))
    (tmp_path / "token").write_text(f"{AUTH_TOKEN}\n")
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("voice-gateway")),
        *("simulate-twilio", str(tmp_path / "said.wav"), at(worker, "/twiml?agent=echo", "http"), "--json"),
        *("--auth-token-file", str(tmp_path / "token"), "--record", str(tmp_path / "caller.wav")),
        *("--call-sid", "CA7"),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    facts = json.loads(out)
    assert process.returncode == 0
    assert (facts["call_sid"], facts["is_answered"], facts["clears"]) == ("CA7", True, 0)
    assert facts["answer_delay_ms"] > 500, "the pause that ends a turn"
    recorded = np.frombuffer(pcmu_decode(read_telephone_wav(tmp_path / "caller.wav")), "<i2")
    assert np.abs(recorded).max() > 7_000
    assert len(recorded) == facts["frames_sent"] * 160


async def test_a_worker_that_is_not_there_is_one_sentence() -> None:
    for url in ("ws://127.0.0.1:1/v1/twilio", "http://127.0.0.1:1/twiml"):
        with pytest.raises(SimulationError, match=url):
            await TwilioSimulator(TwilioCall(url)).run(LOUD)


async def refused_stream(worker: Worker, **parameters: str) -> str:
    """Open a stream with what was captured: the signature of its URL, which is the same for all calls."""
    stream = TwilioCall(at(worker, "/v1/twilio", "ws"), auth_token=AUTH_TOKEN, call_sid="CA1", parameters=parameters)
    return (await TwilioSimulator(stream, tick_s=FAST_S).run(LOUD)).closed or ""


async def test_a_captured_signature_opens_no_live_call_by_its_sid(certificates: Path) -> None:
    async with serving(certificates, access={}) as worker:
        simulator = TwilioSimulator(call(worker, call_sid="CA1"), tick_s=FAST_S)
        calling = asyncio.create_task(simulator.run(LOUD + QUIET))
        await begun(worker)
        assert "1008" in await refused_stream(worker)
        assert "1008" in await refused_stream(worker, stream_token="x", token=TOKEN)
        assert (await calling).closed is None
        assert worker.sessions.counters.accepted == {"twilio": 1}
        assert worker.listeners.telephony_counters.refused_streams == 2


async def test_a_webhook_answered_by_one_worker_opens_one_stream_at_another(certificates: Path, tmp_path: Path) -> None:
    """As behind one public name, where each request may reach any worker."""
    shared: dict[str, Any] = {"access": {}, "session": {"store": f"sqlite:///{tmp_path / 'sessions.db'}"}}
    public = "https://gw.example.com"
    async with (
        serving(certificates, public_url=public, **shared) as first,
        serving(certificates, public_url=public, name="worker-2", **shared) as second,
    ):
        form = {"CallSid": "CA1", "CallStatus": "ringing"}
        headers = {"X-Twilio-Signature": signature(AUTH_TOKEN, f"{public}/twiml", form.items())}
        page = await asyncio.to_thread(fetch, at(first, "/twiml", "http"), form, lambda url, form: headers, None)
        plan = read_plan("", page, {})
        assert plan is not None
        assert plan.url == "wss://gw.example.com/v1/twilio"
        signed = {"X-Twilio-Signature": signature(AUTH_TOKEN, plan.url)}
        for worker, is_first in ((second, True), (second, False), (first, False)):
            async with connect(at(worker, "/v1/twilio", "ws"), additional_headers=signed, max_queue=None) as socket:
                caller = Line(socket)
                await caller.start(**plan.parameters)
                if is_first:
                    await caller.say(LOUD + QUIET)
                    await caller.next("mark")
                    await caller.event("stop")
                else:
                    with pytest.raises(ConnectionClosed) as closed:
                        await caller.next("mark")
                    assert closed.value.rcvd is not None
                    assert closed.value.rcvd.code == 1008
        assert (first.sessions.counters.accepted, second.sessions.counters.accepted) == ({}, {"twilio": 1})


@pytest.mark.parametrize(
    "store", ["redis+cluster://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/calls", "redis://127.0.0.1:1"]
)
async def test_a_signed_call_is_answered_while_the_store_is_away(certificates: Path, store: str) -> None:
    async with serving(certificates, access={}, session={"store": store}) as worker, asyncio.timeout(60):
        result = await TwilioSimulator(call(worker), tick_s=FAST_S * 5).run(LOUD + QUIET)
        assert result.is_answered
