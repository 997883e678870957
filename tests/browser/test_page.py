"""The page in a real Chromium that listens to a recorded caller, over networks that fail."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from deploy.local.scenario import middle_of
from tests.browser.chromium import browsing
from tests.browser.microphone import MicrophoneError, until_the_microphone_works, words_in
from tests.browser.namespace import CAN_BE_MADE, SERVER, two_networks
from tests.browser.page_testbed import TOKEN, PageTestbed, lacking, lost, page_testbed
from tests.browser.path import path_to
from tests.browser.recordings import CALLER, Part, speech
from tests.browser.sound import BLOCK_S, Sound, missing_s
from tests.browser.standstills import Standstills
from tests.browser.tcp_relay import TcpRelay, tcp_relay
from tests.browser.voice_page import VoicePage, opened

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(150)]

LEAD_S = 0.6
FIRST_SENTENCE, SECOND_SENTENCE = Part(CALLER, 0.0, 5.17), Part(CALLER, 5.17)
PAUSE_S = 2.2
"""Long enough for the first sentence to be a turn of its own."""
TARO_S, OAT_S, MATCHA_S = LEAD_S + middle_of("taro"), LEAD_S + 2.6, LEAD_S + PAUSE_S + middle_of("matcha")
"""When the caller is in the middle of these words; at the last one the first drink is on the receipt."""
REBOUND = (TARO_S, OAT_S, MATCHA_S)
"""When the NAT gives another address, in the middle of words; of the three waits the middle one counts."""
PARTS = ("uplinkAgeMs", "endpointingMs", "sttMs", "llmMs", "ttsMs", "downlinkMs", "playoutMs")
"""What a response consists of."""
CLOCKS_MS = 40.0
"""By how much the parts may exceed the whole: they are measured on two clocks."""
HANDSHAKE_MS = 5_000
"""What a WebSocket may take to open on a busy machine; WebTransport is given up after twice that."""
TRIES = 4
"""A call waits 0.8 s before it dials again; which connection is up first after a blackout of 1 s is a race."""
BROKEN_LINE = r"Failed to establish a connection|WebSocket connection to|net::ERR_|Connection lost"
"""What Chromium itself writes to the console of a connection that fails."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def testbed() -> AsyncIterator[PageTestbed]:
    async with page_testbed() as testbed:
        yield testbed


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interrupts the greeting, and says one sentence, then the other."""
    parts = (LEAD_S, FIRST_SENTENCE, PAUSE_S, SECOND_SENTENCE, 1.0)
    return speech(tmp_path_factory.mktemp("speech") / "caller.wav", *parts)


async def words_of(page: VoicePage) -> str:
    return " ".join(
        event["text"] for event in await page.events("transcript") if event["role"] == "user" and event["isFinal"]
    )


async def losses_of(page: VoicePage) -> list[str]:
    """Wait for the whole order, hang up, and return what was lost.

    Raises `MicrophoneError` where the page was not given what is missing.
    """
    items = await page.items(2, timeout_s=30.0)
    ended = await page.hang_up()
    faults = lost(items, ended, await words_of(page))
    if faults and lacking(await words_in(await page.microphone())):
        raise MicrophoneError
    return faults


@until_the_microphone_works
async def test_a_nat_that_gives_another_address_in_mid_word_is_not_noticed(testbed: PageTestbed, caller: Path) -> None:
    now = asyncio.get_running_loop().time
    async with Standstills() as stood_still, browsing(caller) as browser, opened(browser, testbed.url) as page:
        await page.photograph("ready")
        assert await page.barriers() == []
        await page.call()
        (connected,) = await page.events("connected")
        sent = []
        for instant_s in REBOUND:
            await page.at_speech(instant_s)
            testbed.path.renew()
            sent.append((await page.ask("voicePage.call.framesSent"), now()))
            await testbed.migrated(connected["session"], len(sent))
        await page.items(2)
        await page.photograph("talking")
        session = await testbed.session(connected["session"])
        assert await losses_of(page) == []
        if lacking(await words_in(await page.microphone())):
            raise MicrophoneError  # in every call where it is the recording that is at fault
        assert not await page.events("interrupted")
        assert len(session["migrations"]) == len(REBOUND)
        late_ms = [gap_near(session, frames) - stood_still.ms(at - 0.3, at + 0.7) for frames, at in sent]
        assert median(late_ms) <= 80.0, "more than two frames of 20 ms are late"
        assert (await testbed.session(connected["session"]))["uplink"]["frames"] == (await page.ask("observed.ended"))[
            "sent"
        ]
        assert await page.barriers() == []
        await page.page.set_viewport_size({"width": 360, "height": 740})
        await page.page.emulate_media(color_scheme="dark")
        assert await page.ask("document.documentElement.scrollWidth") <= 360
        await page.photograph("ended-on-a-phone-in-the-dark")


def gap_near(session: dict[str, Any], sequence: int) -> float:
    """The longest wait between two frames around this one, as the worker saw it; it keeps only its largest."""
    gaps = session["uplink"]["largest_gaps"]
    return max((gap["gap_ms"] for gap in gaps if -5 <= gap["sequence"] - sequence <= 25), default=20.0)


@until_the_microphone_works
async def test_a_killed_worker_costs_no_word(testbed: PageTestbed, caller: Path) -> None:
    async with browsing(caller) as browser, opened(browser, testbed.url, expected=BROKEN_LINE) as page:
        await page.call()
        (connected,) = await page.events("connected")
        await page.at_speech(MATCHA_S)
        before = await page.items(1)
        await page.page.get_by_role("button", name="Crash the worker").click()
        await page.happened("interrupted")
        await page.photograph("reconnecting")
        await page.happened("resumed")
        await page.photograph("resumed")
        assert (await page.items())[: len(before)] == before
        await page.noticed("Another worker took over, order kept")
        await page.noticed(r"went on over \w+ after [\d.]+ m?s; .* none lost")
        assert await losses_of(page) == []
        assert await page.text("worker") != connected["worker"]


async def test_the_control_whose_record_is_lost_with_its_worker_fails(testbed: PageTestbed, caller: Path) -> None:
    async with browsing(caller) as browser, opened(browser, testbed.url, expected=BROKEN_LINE) as page:
        await page.call()
        await page.at_speech(MATCHA_S)
        async with records_lost(testbed.cluster.folder / "sessions.db"):
            await page.page.get_by_role("button", name="Crash the worker").click()
            await page.phase("failed")
        await page.photograph("lost")
        assert await page.page.get_by_role("alert").is_visible()
        assert lost(await page.items(), None, await words_of(page))


@pytest.mark.skipif(not os.environ.get("STRICT") and not CAN_BE_MADE, reason="network namespaces need root")
@until_the_microphone_works
async def test_another_network_costs_no_word(testbed: PageTestbed, caller: Path) -> None:
    with two_networks() as machine:
        async with (
            path_to(testbed.server, SERVER) as path,
            tcp_relay(SERVER, str(testbed.cluster.addresses.page)) as relay,
            browsing(caller, inside=machine.name, trusted=f"http://{relay.address}") as browser,
            opened(browser, f"http://{relay.address}/", expected=BROKEN_LINE, called=f"{SERVER}:{path.port}") as page,
        ):
            await page.call()
            await page.at_speech(MATCHA_S)
            before = await page.items(1)
            machine.leave()
            machine.arrive()
            await page.happened("resumed")
            assert (await page.items())[: len(before)] == before
            await page.noticed("(Network switched|Another worker took over), order kept")
            await page.noticed(r"went on over \w+ after [\d.]+ m?s")
            assert await losses_of(page) == []
            assert (await page.events("turn"))[-1]["responseMs"] > 0
            assert "playout" in await page.text("latency-parts")


@pytest.mark.skipif(not os.environ.get("STRICT") and not CAN_BE_MADE, reason="network namespaces need root")
async def test_two_seconds_without_any_network_do_not_end_the_call(testbed: PageTestbed, tmp_path: Path) -> None:
    silence = speech(tmp_path / "silence.wav", 0.1)
    with two_networks() as machine:
        async with (
            path_to(testbed.server, SERVER) as path,
            tcp_relay(SERVER, str(testbed.cluster.addresses.page)) as relay,
            browsing(silence, inside=machine.name, trusted=f"http://{relay.address}") as browser,
            opened(browser, f"http://{relay.address}/", expected=BROKEN_LINE, called=f"{SERVER}:{path.port}") as page,
        ):
            await page.call()
            machine.leave()
            await page.happened("interrupted")
            await asyncio.sleep(2.0)
            assert not await page.events("resumed")
            machine.arrive()
            await page.happened("resumed")
            assert (await page.events("resumed"))[-1]["hasReconnected"]
            assert (await page.hang_up())["isFinished"]


@until_the_microphone_works
async def test_a_call_in_datagrams_is_complete_though_some_are_lost(testbed: PageTestbed, caller: Path) -> None:
    url = f"{testbed.url}?uplink=hybrid"
    async with Standstills() as stood_still, browsing(caller) as browser, opened(browser, url) as page:
        began = asyncio.get_running_loop().time()
        await page.call()
        assert await page.ask("voicePage.call.uplink") == "hybrid"
        (connected,) = await page.events("connected")
        testbed.path.loss, testbed.path.lost = 0.05, 0
        try:
            assert await losses_of(page) == []
        finally:
            testbed.path.loss = 0.0
        ended = await page.ask("observed.ended")
        session = await testbed.session(connected["session"])
        assert not await page.events("interrupted")
        assert testbed.path.lost > 0
        assert session["uplink"]["frames"] == ended["sent"]
        assert session["datagrams"] > 0.9 * ended["sent"], "most frames came on the stream"
        answered = [event for event in await page.events("turn") if event["responseMs"] is not None]
        assert answered
        # what counts twice does so in each turn; the worker takes a microphone that stood still for a slow network
        excess_ms = min(sum(turn[part] for part in PARTS) - turn["responseMs"] for turn in answered)
        assert excess_ms <= CLOCKS_MS + stood_still.ms(began), answered


@until_the_microphone_works
async def test_blocked_udp_is_gone_around(testbed: PageTestbed, caller: Path) -> None:
    testbed.path.is_dark = True
    try:
        async with browsing(caller) as browser, opened(browser, testbed.url, expected=BROKEN_LINE) as page:
            await page.call()
            (chosen,) = await page.events("transport")
            assert chosen["transport"] == "websocket"
            (attempt,) = [each for each in chosen["attempts"] if each["transport"] == "websocket"]
            assert chosen["tookMs"] - attempt["startedMs"] <= HANDSHAKE_MS
            await page.noticed("This call runs over WebSocket")
            await page.photograph("websocket")
            assert await losses_of(page) == []
    finally:
        testbed.path.is_dark = False


async def test_an_interrupted_answer_is_silent_at_once(testbed: PageTestbed, tmp_path: Path) -> None:
    """The first sentence interrupts the greeting; where it was faster than that, the second one its answer."""
    recording = speech(tmp_path / "early.wav", 1.2, FIRST_SENTENCE, PAUSE_S, SECOND_SENTENCE)
    async with browsing(recording) as browser, opened(browser, testbed.url, is_recorded=True) as page:
        await page.call()
        for index in range(2):
            await page.until(f"observed.flushes.length > {index}")
            await asyncio.sleep(0.3)
            flushed_s = await page.ask(f"observed.flushes[{index}]")
            loud = (await page.sound()).loud_s
            if (loud < flushed_s).any():
                break
        else:
            pytest.fail("nothing was heard that could be interrupted")
        until_answer = loud[loud < flushed_s + 0.25]
        assert until_answer[-1] - flushed_s <= 0.050


async def test_a_blackout_during_an_answer_is_not_heard(testbed: PageTestbed, tmp_path: Path) -> None:
    silence = speech(tmp_path / "silence.wav", 0.1)
    async with browsing(silence) as browser, tcp_relay("127.0.0.1", str(testbed.cluster.addresses.page)) as relay:
        undisturbed = await greeting(testbed, browser, relay, blackout_s=0.0)
        for _ in range(TRIES):
            with suppress(ReconnectedError):
                disturbed = await greeting(testbed, browser, relay, blackout_s=1.0)
                break
        else:
            pytest.fail("no connection came back by itself from a blackout of 1 s")
    # a buffer that ran dry pushes back all that follows; one block by itself is Chromium's, which let its sound wait
    assert missing_s(undisturbed, disturbed) <= BLOCK_S
    assert missing_s(undisturbed, with_silence(disturbed, at_s=1.0, lasting_s=0.005)) > 0.2, "the comparison is deaf"


def with_silence(sound: Sound, at_s: float, lasting_s: float) -> Sound:
    """The same with a pause in it that pushes what follows back."""
    at, length = (round(each * sound.rate_hz) for each in (sound.loud_s[0] - sound.first_s + at_s, lasting_s))
    pause = np.zeros(length, np.int16)
    return replace(sound, samples=np.concatenate((sound.samples[:at], pause, sound.samples[at:])))


class ReconnectedError(Exception):
    """Another connection was up before the old one came back: the answer is then said again from where it stopped."""


@asynccontextmanager
async def records_lost(database: Path) -> AsyncIterator[None]:
    """Delete every record, and again while this lasts: a worker that still runs saves anew."""

    async def lose() -> None:
        with closing(sqlite3.connect(database)) as store:
            tables = store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            while True:
                with store:
                    for (table,) in tables:
                        store.execute(f"DELETE FROM {table}")  # noqa: S608 - our own tables
                await asyncio.sleep(0.02)

    losing = asyncio.create_task(lose())
    await asyncio.sleep(0.02)
    try:
        yield
    finally:
        losing.cancel()
        with suppress(asyncio.CancelledError):
            await losing


async def greeting(testbed: PageTestbed, browser: Any, relay: TcpRelay, blackout_s: float) -> Sound:
    """What is heard of it while nothing comes through for so long, 0.3 s after it began."""
    async with opened(browser, f"http://{relay.address}/", expected=BROKEN_LINE, is_recorded=True) as page:
        await page.call()
        await page.happened("speech")
        await asyncio.sleep(0.3)
        relay.has_light.clear()
        await testbed.path.black_out(blackout_s)
        relay.has_light.set()
        await page.happened("speech-ended")
        await asyncio.sleep(0.2)
        if any(event["hasReconnected"] for event in await page.events("resumed")):
            raise ReconnectedError
        return await page.sound()


async def test_a_missing_and_a_forbidden_microphone_are_distinguished(testbed: PageTestbed, caller: Path) -> None:
    async with browsing(None) as browser, opened(browser, testbed.url, permissions=["microphone"]) as page:
        assert await fault(page) == "There is no microphone"
        await page.photograph("no-microphone")
    async with browsing(caller, is_allowed=False) as browser, opened(browser, testbed.url) as page:
        assert await fault(page) == "The microphone is not allowed"


async def test_a_refused_token_may_be_entered_again_and_the_network_switched(
    testbed: PageTestbed, tmp_path: Path
) -> None:
    silence = speech(tmp_path / "silence.wav", 0.1)
    async with (
        browsing(silence) as browser,
        opened(browser, testbed.url, expected=BROKEN_LINE, config={"token": "wrong"}) as page,
    ):
        assert await fault(page) == "The access token is refused"
        assert {event["transport"] for event in await page.events("transport")} <= {"webtransport"}
        assert await page.barriers() == []
        await page.photograph("refused-token")
        await page.page.get_by_label("Access token").focus()
        await page.page.keyboard.type(TOKEN)
        await page.page.keyboard.press("Enter")
        await page.phase("talking")
        assert not await page.page.get_by_role("alert").is_visible()
        await page.page.get_by_role("button", name="Switch the network").click()
        await page.happened("resumed")
        await page.noticed("order kept")


async def test_an_expired_certificate_is_named(testbed: PageTestbed, tmp_path: Path) -> None:
    silence = speech(tmp_path / "silence.wav", 0.1)
    expected = f"{BROKEN_LINE}|status of 404"
    config = {"certificate_hashes": ["A" * 43 + "="], "certificate_expires": "2020-01-02T00:00:00Z"}
    async with browsing(silence) as browser:
        async with opened(browser, testbed.url, expected=BROKEN_LINE, config=config) as page:
            await page.call()
            await page.noticed("The certificate expired on 2020-01-02[.]")
        async with opened(
            browser, testbed.url, expected=expected, config=config | {"web_socket_path": "/none"}
        ) as page:
            assert await fault(page) == "The server's certificate is not accepted"
            assert await page.text("fault-why") == "The certificate expired on 2020-01-02."
            await page.photograph("expired-certificate")


async def fault(page: VoicePage) -> str:
    await page.page.get_by_role("button", name="Call", exact=True).click()
    await page.phase("failed")
    return await page.text("fault-title")
