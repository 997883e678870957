"""The bridge to OpenAI Realtime, against a local server that OpenAI's own client is run against first."""

from __future__ import annotations

import asyncio
import copy
import os
from base64 import b64encode
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import pytest
from openai import AsyncOpenAI

from tests.agents.support import shop
from tests.agents.support.line import Line, Record
from tests.agents.support.openai_realtime_server import KEY, RealtimeSession, realtime_server
from tests.agents.support.renewals import renewals
from tests.agents.support.server_thread import in_a_thread
from tests.agents.support.vendor_voice import SENTENCES, at_rate, shop_brain
from tests.unit.recordings import recording
from voice_gateway.agent.base import (
    Agent,
    AgentEvent,
    AgentFailed,
    FinalTranscript,
    PartialTranscript,
    PlaybackFinished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    StopReply,
    UserStartedSpeaking,
)
from voice_gateway.agents.bridges.bridge.agent import BridgeAgent
from voice_gateway.agents.bridges.bridge.options import BridgeTimes
from voice_gateway.agents.bridges.bridge.upstream import UpstreamTimes
from voice_gateway.agents.bridges.openai_realtime import OpenAIRealtime, OpenAIRealtimeAgent, OpenAIRealtimeSettings
from voice_gateway.errors import AgentError
from voice_gateway.store.base import Line as StoredLine
from voice_gateway.testing.agents import AgentContract

T = TypeVar("T")
REAL_KEY = os.environ.get("OPENAI_API_KEY", "")
PAUSE = bytes(2 * 24_000 * 2)


async def test_openais_own_client_talks_with_the_local_server() -> None:
    async with realtime_server() as server:
        client = AsyncOpenAI(api_key=KEY, websocket_base_url=server.url)
        async with client.realtime.connect(model="gpt-realtime-2.1") as connection:
            pcm: Any = {"type": "audio/pcm", "rate": 24_000}
            turns: Any = {"type": "server_vad", "interrupt_response": True}
            audio: Any = {"input": {"format": pcm, "turn_detection": turns}, "output": {"format": pcm}}
            await connection.session.update(session={"type": "realtime", "audio": audio})
            speech = at_rate(recording("slt_total"), 24_000) + PAUSE
            await connection.input_audio_buffer.append(audio=b64encode(speech).decode())
            seen: list[str] = []
            said = ""
            async for event in connection:
                seen.append(event.type)
                if event.type == "conversation.item.input_audio_transcription.completed":
                    said = event.transcript
                if event.type == "response.output_audio.delta":
                    item_id = event.item_id
                if said and "response.done" in seen:
                    break
            await connection.conversation.item.truncate(item_id=item_id, content_index=0, audio_end_ms=120)
            async for event in connection:
                if event.type == "conversation.item.truncated":
                    break
        assert said == SENTENCES["slt_total"]
        assert seen.index("input_audio_buffer.speech_started") < seen.index("response.created")
        assert server.sessions[0].items[-1].truncated_ms == 120


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


class TestRealtime(AgentContract):
    audio = "pcm"

    @pytest.fixture(autouse=True)
    def server(self) -> Iterator[None]:
        with in_a_thread(realtime_server()) as server:
            self.url = server.url
            yield

    def make_agent(self) -> Agent:
        return OpenAIRealtimeAgent(
            OpenAIRealtimeSettings.model_validate({"base_url": self.url, "audio": self.audio, "greeting": "Hello."})
        )


class TestRealtimePcmu(TestRealtime):
    audio = "pcmu"


def bridge(url: str, times: BridgeTimes | None = None, **settings: Any) -> Agent:
    given = {"base_url": url, "tools": ["tests.agents.support.shop:add_item"], **settings}
    checked = OpenAIRealtimeSettings.model_validate(given)
    return OpenAIRealtimeAgent(checked) if times is None else BridgeAgent(OpenAIRealtime(checked), checked, times)


async def test_a_spoken_order_calls_the_tool_once_and_is_answered() -> None:
    async with realtime_server(brain=shop_brain) as server, Line(bridge(server.url)) as line:
        shop.ordered.clear()
        await line.speak("slt_order")
        await line.until(line.has_ended)
        assert [event.text for event in line.of(FinalTranscript)] == [SENTENCES["slt_order"]]
        assert [item for item, _key in shop.ordered] == ["brown sugar milk tea"]
        assert line.record.said[1] == ("agent", 'Your order is {"items":["brown sugar milk tea"]}.')
        await line.until(lambda: line.record.private == {})


async def test_words_name_the_last_frame_of_their_turn() -> None:
    async with realtime_server() as server, Line(bridge(server.url)) as line:
        await line.speak("slt_total")
        await line.until(line.has_ended)
        end = len(line.record.unacked) - 1
        voice_end = max(n for n, pcm in enumerate(line.record.unacked) if any(pcm))
        through = line.of(FinalTranscript)[0].through_sequence
        assert voice_end < through <= min(end, voice_end + 30)
        begun = line.of(UserStartedSpeaking)[0].sequence
        assert 0 <= begun <= next(n for n, pcm in enumerate(line.record.unacked) if any(pcm)) + 5


async def test_an_interrupted_answer_is_truncated_to_what_was_played() -> None:
    async with realtime_server(most_chunks=8) as server, Line(bridge(server.url), is_playing=False) as line:
        await line.speak("slt_order")
        await line.until(lambda: len(line.of(ReplyAudio)) >= 8)
        played = line.take

        def interrupt(event: AgentEvent) -> None:
            if isinstance(event, UserStartedSpeaking):
                line.events.append(event)
                line.cut(420, "You said:")
            else:
                played(event)

        line.conversation._emit = interrupt
        await line.speak("slt_total")
        await line.until(lambda: len(line.of(FinalTranscript)) == 2)
        session = server.sessions[0]
        await line.until(lambda: any(item.truncated_ms is not None for item in session.items))
        assert [item.truncated_ms for item in session.items if item.truncated_ms is not None] == [420]
        assert session.errors == []
        assert line.record.said[1] == ("agent", "You said:")
        after = line.events.index(line.of(FinalTranscript)[1])
        cut = line.events.index(line.of(UserStartedSpeaking)[1])
        assert not any(isinstance(event, ReplyAudio | ReplyEnded) for event in line.events[cut:after])


async def test_played_beyond_what_was_made_is_never_sent() -> None:
    async with realtime_server(most_chunks=3) as server, Line(bridge(server.url), is_playing=False) as line:
        await line.speak("slt_order")
        await line.until(lambda: len(line.of(ReplyAudio)) >= 3)
        line.conversation.interrupted(60_000)
        line.conversation.playback_finished(PlaybackFinished("", 60_000, is_interrupted=True))
        await line.speak("slt_total")
        await line.until(lambda: len(line.of(FinalTranscript)) == 2)
        assert server.sessions[0].errors == []


async def test_a_lost_session_is_crossed_and_the_turn_answered_by_its_words() -> None:
    killed: list[int] = []

    def kill_once(session: RealtimeSession) -> None:
        if not killed:
            killed.append(1)
            session.kill()

    async with realtime_server(on_response=kill_once, words_delay_s=0.0) as server, Line(bridge(server.url)) as line:
        await line.speak("slt_order")
        await line.until(line.has_ended)
        assert len(server.sessions) == 2
        words = SENTENCES["slt_order"]
        assert line.record.said == [("user", words), ("agent", f"You said: {words}")]
        assert len(line.of(FinalTranscript)) == 1


async def test_a_session_lost_in_mid_turn_gets_the_unacked_audio_again() -> None:
    async with realtime_server() as server, Line(bridge(server.url)) as line:
        await line.until(lambda: bool(server.sessions) and server.sessions[0].config is not None)
        await line.speak("slt_order", frames=90)
        await line.until(lambda: bool(line.of(UserStartedSpeaking)))
        server.sessions[0].kill()
        await line.speak("", from_sequence=90)
        await line.until(line.has_ended)
        words = SENTENCES["slt_order"]
        assert line.record.said == [("user", words), ("agent", f"You said: {words}")]
        assert len(server.sessions) == 2


async def test_an_answer_cut_by_a_lost_session_leaves_what_was_played() -> None:
    async with realtime_server(most_chunks=3) as server, Line(bridge(server.url), is_playing=False) as line:
        await line.speak("slt_total")
        await line.until(lambda: len(line.of(ReplyAudio)) >= 3)
        server.most_chunks = None
        server.sessions[0].kill()
        await line.until(line.has_ended)
        words = SENTENCES["slt_total"]
        assert len(line.of(StopReply)) == 1
        assert line.record.said == [("user", words), ("agent", ""), ("agent", f"You said: {words}")]
        history = [each["item"]["content"][0]["text"] for each in server.sessions[1].commands if "item" in each]
        assert history == [words]


def has_result(record: Record) -> bool:
    return any(each["is_done"] for each in record.private.get("tools", {}).values())


@pytest.mark.parametrize("place", ["before the answer", "after the effect"])
async def test_another_worker_answers_the_pending_turn_and_no_tool_acts_twice(place: str) -> None:
    """The first worker dies without a word; the second one has what was saved."""
    shop.ordered.clear()
    shop.gate = asyncio.Event()
    async with realtime_server(brain=shop_brain) as server:
        first = Line(bridge(server.url, tools=["tests.agents.support.shop:add_item_slowly"]))
        async with first:
            await first.speak("slt_order")
            await first.until(lambda: bool(shop.ordered))
            if place == "after the effect":
                saved = copy.deepcopy(first.record)  # the intent, but no result
            else:
                shop.gate.set()
                saved = await first.record_when(has_result)
        shop.gate.set()
        async with Line(bridge(server.url, tools=["tests.agents.support.shop:add_item_slowly"]), saved) as second:
            second.resume()
            await second.until(second.has_ended)
            assert second.of(FinalTranscript) == []
            assert second.record.said[-1] == ("agent", 'Your order is {"items":["brown sugar milk tea"]}.')
    keys = [key for _item, key in shop.ordered]
    assert len(set(keys)) == 1, "a call that is repeated has the same key"
    assert len(keys) == (2 if place == "after the effect" else 1)


async def test_a_session_lost_while_a_tool_runs_gets_its_result_without_another_call() -> None:
    shop.ordered.clear()
    shop.gate = asyncio.Event()
    agent_of = ["tests.agents.support.shop:add_item_slowly"]
    async with realtime_server(brain=shop_brain) as server, Line(bridge(server.url, tools=agent_of)) as line:
        await line.speak("slt_order")
        await line.until(lambda: bool(shop.ordered))
        server.sessions[0].kill()
        await line.until(lambda: len(server.sessions) == 2)
        shop.gate.set()
        await line.until(line.has_ended)
        assert line.record.said[-1] == ("agent", 'Your order is {"items":["brown sugar milk tea"]}.')
        assert len(shop.ordered) == 1


async def test_a_vendor_that_ends_each_session_at_once_is_not_asked_without_end() -> None:
    def kill(session: RealtimeSession) -> None:
        session.kill()

    async with realtime_server(on_response=kill) as server, Line(bridge(server.url)) as line:
        await line.speak("slt_total")
        await line.until(lambda: bool(line.of(AgentFailed)), 60)
        assert line.of(AgentFailed)[0].reason == "OpenAI Realtime ends each session at once: lost the connection"
        assert len(server.sessions) == 6


async def test_a_session_is_replaced_before_its_end_at_a_quiet_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = renewals(monkeypatch, session_s=1_800.0)
    async with realtime_server() as server, Line(bridge(server.url, session_s=1_800.0)) as line:
        await line.speak("slt_total")
        await line.until(line.has_ended)
        assert len(server.sessions) == 1
        ends.is_near = True
        await line.until(lambda: len(server.sessions) == 2 and server.sessions[1].config is not None)
        await line.speak("slt_done")
        await line.until(lambda: line.has_ended(2))
        assert [text for role, text in line.record.said if role == "user"] == [
            SENTENCES["slt_total"],
            SENTENCES["slt_done"],
        ]
        history = [each["item"]["content"][0]["text"] for each in server.sessions[1].commands if "item" in each]
        assert history[:2] == [SENTENCES["slt_total"], f"You said: {SENTENCES['slt_total']}"]


async def test_words_that_never_come_do_not_silence_the_answer() -> None:
    async with realtime_server(is_transcribing=False) as server, Line(bridge(server.url)) as line:
        await line.speak("slt_total")
        await line.until(line.has_ended)
        assert line.of(FinalTranscript)[0].text == "(not transcribed)"


async def test_words_that_come_too_late_are_no_second_turn() -> None:
    times = BridgeTimes(words_s=0.1)
    may_transcribe = asyncio.Event()
    async with realtime_server(may_transcribe=may_transcribe) as server, Line(bridge(server.url, times)) as line:
        await line.speak("slt_total")
        await line.until(line.has_ended)
        may_transcribe.set()
        await line.until(lambda: any(isinstance(event, PartialTranscript) for event in line.events))
        may_transcribe.clear()
        await line.speak("slt_done")
        await line.until(lambda: line.has_ended(2))
        assert [event.text for event in line.of(FinalTranscript)] == ["(not transcribed)"] * 2


async def test_a_reply_is_said_again_from_what_is_kept_of_it() -> None:
    async with realtime_server() as server, Line(bridge(server.url), is_playing=False) as line:
        await line.speak("slt_total")
        await line.until(line.has_ended)
        text = line.record.lines[-1].text
        audio = b"".join(event.pcm for event in line.of(ReplyAudio))
        line.events.clear()
        line.conversation.say_again(text)
        assert [event.text for event in line.of(Reply)] == [text]
        assert b"".join(event.pcm for event in line.of(ReplyAudio)) == audio
        assert "response.create" not in server.said_to()


async def test_another_worker_lets_the_vendor_say_a_reply_again() -> None:
    record = Record([StoredLine(1, "user", "Hi"), StoredLine(1, "agent", "Hello to you.")])
    async with realtime_server() as server, Line(bridge(server.url), record) as line:
        line.conversation.say_again("Hello to you.")
        await line.until(line.has_ended)
        assert [event.text for event in line.of(Reply)] == ["Hello to you."]
        assert [(each.role, each.text) for each in server.sessions[0].items] == [
            ("user", "Hi"),
            ("assistant", "Hello to you."),
        ]


async def test_a_key_of_the_telephone_is_a_turn() -> None:
    async with realtime_server() as server, Line(bridge(server.url)) as line:
        await line.until(lambda: bool(server.sessions) and server.sessions[0].config is not None)
        line.conversation.pressed("5")
        await line.until(line.has_ended)
        assert line.record.said == [("user", "5"), ("agent", "You said: 5")]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (HTTPStatus.UNAUTHORIZED, "OpenAI Realtime refused the key (HTTP 401)"),
        (HTTPStatus.TOO_MANY_REQUESTS, "OpenAI Realtime has too many requests for this key (HTTP 429); tried for 1 s"),
        (HTTPStatus.SERVICE_UNAVAILABLE, "OpenAI Realtime fails (HTTP 503); tried for 1 s"),
    ],
)
async def test_a_refused_handshake_ends_the_call_with_an_apology(status: HTTPStatus, sentence: str) -> None:
    times = BridgeTimes(UpstreamTimes(give_up_s=1.0, open_s=10.0))
    async with realtime_server(status=status) as server, Line(bridge(server.url, times)) as line:
        await line.until(lambda: bool(line.of(AgentFailed)))
        assert line.of(AgentFailed)[0].reason == sentence
        assert [event.text for event in line.of(Reply)] == ["Sorry, something went wrong. Please call again."]
        assert len(line.of(ReplyAudio)[0].pcm) > 24_000


async def test_too_many_requests_for_a_moment_are_waited_for() -> None:
    status = HTTPStatus.TOO_MANY_REQUESTS
    async with realtime_server(status=status, refusals=2) as server, Line(bridge(server.url)) as line:
        await line.speak("slt_total")
        await line.until(line.has_ended)
        assert line.record.said[0] == ("user", SENTENCES["slt_total"])


async def test_an_unknown_model_ends_the_call() -> None:
    async with realtime_server() as server, Line(bridge(server.url, model="gpt-nope")) as line:
        await line.until(lambda: bool(line.of(AgentFailed)))
        assert line.of(AgentFailed)[0].reason == "OpenAI Realtime does not know the model"


async def test_a_type_that_is_not_known_is_skipped() -> None:
    async with realtime_server() as server, Line(bridge(server.url)) as line:
        await line.until(lambda: bool(server.sessions) and server.sessions[0].config is not None)
        await server.sessions[0].connection.send('{"type": "session.mood", "mood": {"is": "fine"}}')
        await line.speak("slt_total")
        await line.until(line.has_ended)


async def test_a_missing_key_stops_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(AgentError, match="OpenAI Realtime needs a key: set OPENAI_API_KEY or"):
        await OpenAIRealtimeAgent(OpenAIRealtimeSettings()).open()


async def test_the_key_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    (tmp_path / "key").write_text(KEY + "\n")
    async with realtime_server() as server, Line(bridge(server.url, api_key_file=tmp_path / "key")) as line:
        await line.speak("slt_total")
        await line.until(line.has_ended)


@pytest.mark.skipif(not os.environ.get("OPENAI_API_KEY"), reason="no OPENAI_API_KEY: an account, not a missing tool")
async def test_the_real_vendor_understands_and_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs a few cents."""
    monkeypatch.setenv("OPENAI_API_KEY", REAL_KEY)
    async with Line(bridge("")) as line:
        await line.speak("slt_order")
        await line.until(line.has_ended, 60)
        assert "milk tea" in line.of(FinalTranscript)[0].text.lower()
        assert line.of(ReplyAudio)
