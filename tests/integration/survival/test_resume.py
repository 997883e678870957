"""Sessions that outlive their connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from testbed.waiting import until
from tests.integration.support.relay import relaying
from tests.integration.support.workers import TONE, call_that_goes_on_at_another_worker, calling, ended, working
from voice_client import Interrupted, Resumed, Security, SessionFailed, VoiceClient
from voicelink.wire import CloseCode

TIMEOUT_S = 30.0


def came_back(events: Iterable[object]) -> list[Resumed]:
    """What ended each interruption; a busy machine may have more of them than the test made."""
    breaks = [event for event in events if isinstance(event, Interrupted | Resumed)]
    assert [type(event) for event in breaks] == [Interrupted, Resumed] * (len(breaks) // 2)
    return [event for event in breaks if isinstance(event, Resumed)]


async def test_a_connection_that_dies_in_mid_speech_loses_and_repeats_no_frame(tmp_path: Path) -> None:
    async with working(tmp_path) as worker, relaying(worker.addresses.direct) as relay:
        async with calling(relay, tmp_path) as call:
            speaking = asyncio.create_task(call.speak(TONE))
            await asyncio.sleep(0.5)
            relay.cut()
            await speaking
            await ended(call)
            events = [event async for event in call.events()]
        (ended_session,) = worker.sessions.ended()
    report = call.report()
    resumed = next(event for event in came_back(events) if event.has_reconnected)
    # noticed by what is not acknowledged, long before the connection would have timed out after 30 s
    assert 750 < resumed.gap_ms < 15_000
    assert report.is_complete
    assert call.state["utterances"] == 1
    assert ended_session.uplink.frames == report.frames_sent == report.frames_acked
    assert ended_session.uplink.duplicates == 0


async def test_a_connection_that_the_caller_leaves_does_not_end_the_session(tmp_path: Path) -> None:
    async with (
        working(tmp_path) as worker,
        relaying(worker.addresses.direct) as relay,
        calling(relay, tmp_path) as call,
    ):
        assert call._call.link is not None
        assert call._call.link.connection is not None
        call._call.link.connection.close(CloseCode.TAKEN_OVER, "moving")
        call._call.recovery.redial()
        async for event in call.events():
            if isinstance(event, Resumed):
                break
        assert not worker.sessions.ended()
        await ended(call)
    assert call.is_finished


async def test_a_caller_that_cannot_see_a_status_is_refused_by_a_close_code(tmp_path: Path) -> None:
    async with working(tmp_path, token="sesame") as worker:
        assert worker.addresses.direct
        url = f"https://127.0.0.1:{worker.addresses.direct[1]}/v1/voice?refusal=close"
        with pytest.raises(SessionFailed, match="access token") as refused:
            async with VoiceClient(url, security=Security(token="wrong", ca_file=tmp_path / "ca.pem")):
                pass
    assert refused.value.code == CloseCode.UNAUTHORISED


async def test_a_connection_that_comes_back_before_another_is_open_is_kept(tmp_path: Path) -> None:
    async with (
        working(tmp_path) as worker,
        relaying(worker.addresses.direct) as relay,
        calling(relay, tmp_path) as call,
    ):
        speaking = asyncio.create_task(call.speak(TONE))
        await asyncio.sleep(0.5)
        relay.swallowed_hosts.add("127.0.0.1")
        await asyncio.sleep(1.0)
        relay.swallowed_hosts.clear()
        await speaking
        await ended(call)
        events = [event async for event in call.events()]
    assert came_back(events)
    assert call.report().is_complete
    assert call.state["utterances"] == 1


async def test_the_rest_of_an_answer_is_played_on_the_new_connection(tmp_path: Path) -> None:
    async with working(tmp_path) as worker, relaying(worker.addresses.direct) as relay:
        played = PlayedAudio(0.1, relay.cut)
        async with calling(relay, tmp_path, sinks=[played]) as call:
            call.send_pcm(TONE + bytes(32_000))
            await played.has_reached.wait()
            await until(lambda: call.report().resumes)
            await call.finish()
    # the echo has 2 s of tone and the pause that ended the turn; a repeated or lost piece would be longer than a frame
    assert len(played.pcm) // 2 / 24_000 == pytest.approx(2.65, abs=0.15)


async def test_after_bye_the_rest_of_the_last_answer_is_played_on_the_new_connection(tmp_path: Path) -> None:
    """PROTOCOL section 6: at the same worker, too."""
    async with working(tmp_path) as worker, relaying(worker.addresses.direct) as relay:
        played = PlayedAudio(0.3, relay.cut)
        async with calling(relay, tmp_path, sinks=[played]) as call:
            call.send_pcm(TONE + bytes(32_000))
            await call.finish()
            assert call.report().resumes
    assert len(played.pcm) // 2 / 24_000 == pytest.approx(2.65, abs=0.15)


class PlayedAudio:
    """A sink that keeps what was played, and calls `happen` once, after `after_s` of it."""

    def __init__(self, after_s: float, happen: Callable[[], None]) -> None:
        self.pcm = b""
        self.has_reached = asyncio.Event()
        self._after_bytes = round(after_s * 24_000) * 2
        self._happen = happen

    def play(self, at_s: float, pcm: bytes) -> None:
        self.pcm += pcm
        if len(self.pcm) >= self._after_bytes and not self.has_reached.is_set():
            self.has_reached.set()
            self._happen()

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing to release."""


async def test_a_worker_that_never_saw_the_session_takes_it_up_from_the_store(tmp_path: Path) -> None:
    report = await call_that_goes_on_at_another_worker(tmp_path)
    assert report.is_complete
    assert report.resumes[-1].worker == "w-2"
    assert report.state["utterances"] == 1
    assert report.frames_acked == report.frames_sent


async def test_a_caller_that_missed_the_bye_resumes_for_it(tmp_path: Path) -> None:
    async with (
        working(tmp_path) as worker,
        relaying(worker.addresses.direct) as relay,
        calling(relay, tmp_path, has_playback=False) as call,
    ):
        await call.speak(TONE)
        relay.is_mute = True
        finishing = asyncio.create_task(call.finish())
        await until(lambda: not worker.sessions.count)
        relay.cut()
        relay.is_mute = False
        await finishing
        report = call.report()
    assert report.is_complete
    assert report.frames_acked == report.frames_sent
    assert call.state["utterances"] == 1


async def test_a_session_that_is_gone_ends_the_call(tmp_path: Path) -> None:
    async with (
        working(tmp_path, "w-1") as first,
        working(tmp_path, "w-2") as second,
        relaying(first.addresses.direct) as relay,
        calling(relay, tmp_path) as call,
    ):
        relay.relay_to(second.addresses.direct)
        call.send_pcm(TONE)
        with pytest.raises(SessionFailed, match="unknown session"):
            await call.finish()
