"""Spoken orders to an agent host in another language, Node.js, by a real worker: kills of either, and barge-in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.agents.kills import EFFECT, MID_SPEECH, Cell, hold_calls, recording
from bench.agents.lane import Lane
from bench.agents.ways import NODE, ORDER
from voice_client import AudioOptions, Security, VoiceClient
from voice_client.events import Flushed, Speech

ANSWER = "I have that for you."
PAUSE = bytes(32_000)

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    folder = Path(tempfile.mkdtemp(prefix="node-"))  # a socket's path is short
    made = Lane(NODE, folder / "lane")
    try:
        yield made
    finally:
        await made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("place", [MID_SPEECH, EFFECT])
@pytest.mark.parametrize("victim", ["host", "worker"])
async def test_an_order_survives_the_kill_of_its_host_or_worker(lane: Lane, victim: str, place: str) -> None:
    await lane.start()
    found = await hold_calls(lane, Cell(victim, place), 1)
    (outcome,) = found.outcomes
    assert (outcome.error, outcome.words_lost) == ("", 0)
    assert outcome.transcript == (("user", ORDER), ("agent", ANSWER))
    assert outcome.state == {"order": ORDER}
    assert len(found.keys) == (2 if place == EFFECT else 1), "a call that had not returned is repeated"
    assert len(set(found.keys)) == 1, "under its key"


async def test_a_caller_who_speaks_up_interrupts_the_answer_and_orders_again(lane: Lane) -> None:
    await lane.start()
    lane.orders.with_name("orders.open").touch()
    host, port = lane.workers[0].address
    client = VoiceClient(
        f"https://{host}:{port}/v1/voice",
        security=Security(ca_file=lane.folder / "ca.pem"),
        audio=AudioOptions(codec="pcm16", has_playback=True),
    )
    flushed = 0
    async with client as call:
        events = call.events()
        call.send_pcm(recording("slt_order") + PAUSE)
        async for event in events:
            if isinstance(event, Speech) and not flushed:
                call.send_pcm(recording("slt_order"))
            if isinstance(event, Flushed):
                flushed += 1
                break
        call.send_pcm(PAUSE)
        await call.finish()
    said = [(line.role, line.text) for line in client.transcript if line.is_final]
    assert flushed == 1
    assert [text for role, text in said if role == "user"] == [ORDER, ORDER]
    assert said[-1] == ("agent", ANSWER)
    assert len(set(lane.keys())) == len(lane.keys()) == 2, "each order has a key of its own"
