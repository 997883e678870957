"""The bridge to GPT-Live, against a local server that OpenAI's own client is run against first."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.agents.support import shop
from tests.agents.support.gpt_live_server import KEY, live_server
from tests.agents.support.line import Line
from tests.agents.support.server_thread import in_a_thread
from tests.agents.support.vendor_voice import SENTENCES, at_rate, shop_brain
from tests.unit.recordings import recording
from voice_gateway.agent.base import Agent, AgentFailed, FinalTranscript, ReplyAudio
from voice_gateway.agents.bridges.gpt_live import GPTLiveAgent, GPTLiveSettings
from voice_gateway.testing.agents import AgentContract

REAL_KEY = os.environ.get("OPENAI_API_KEY", "")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def bridge(url: str, **settings: Any) -> Agent:
    given = {"base_url": url, "tools": ["tests.agents.support.shop:add_item"], **settings}
    return GPTLiveAgent(GPTLiveSettings.model_validate(given))


async def test_openais_own_client_talks_with_the_local_server() -> None:
    async with live_server() as server:
        client = AsyncOpenAI(api_key=KEY, websocket_base_url=server.url)
        async with client.live.connect() as connection:
            session: Any = {"model": "gpt-live-1.1", "audio": {"format": {"type": "audio/pcm", "rate": 24_000}}}
            await connection.send({"type": "session.start", "session": session})
            words, answer, is_started = "", "", False
            async for event in connection:
                if event.type == "session.started":
                    is_started = True
                    speech = at_rate(recording("slt_total"), 24_000) + bytes(96_000)
                    audio = b64encode(speech).decode()
                    await connection.send({"type": "session.input_audio.append", "audio": audio})
                elif event.type == "session.input_transcript.delta":
                    words += event.delta
                elif event.type == "session.output_transcript.delta":
                    answer += event.delta
                if answer.count(" ") == 5:
                    break
        assert is_started
        assert words.strip() == SENTENCES["slt_total"]
        assert answer.strip() == f"You said: {SENTENCES['slt_total']}"


class TestGPTLive(AgentContract):
    audio = "pcm"

    @pytest.fixture(autouse=True)
    def server(self) -> Iterator[None]:
        with in_a_thread(live_server()) as server:
            self.url = server.url
            yield

    def make_agent(self) -> Agent:
        return bridge(self.url, audio=self.audio, greeting="Hello.")


class TestGPTLivePcmu(TestGPTLive):
    audio = "pcmu"


async def test_a_spoken_order_calls_the_tool_once_and_is_answered() -> None:
    shop.ordered.clear()
    async with live_server(brain=shop_brain) as server, Line(bridge(server.url)) as line:
        await line.speak("slt_order")
        await line.until(line.has_ended)
        assert [event.text for event in line.of(FinalTranscript)] == [SENTENCES["slt_order"]]
        assert [item for item, _key in shop.ordered] == ["brown sugar milk tea"]
        assert line.record.said[-1] == ("agent", 'Your order is {"items":["brown sugar milk tea"]}.')
        await line.until(lambda: line.record.private == {})


async def test_silence_is_no_reply() -> None:
    async with live_server() as server, Line(bridge(server.url)) as line:
        await line.speak("slt_total")
        await line.until(line.has_ended)
        spoken_s = sum(len(event.pcm) for event in line.of(ReplyAudio)) / 48_000
        assert spoken_s == pytest.approx(0.05 * len(f"You said: {SENTENCES['slt_total']}"), abs=0.1)


async def test_a_lost_session_is_given_the_history_and_answers_what_it_had_not() -> None:
    async with live_server(pace_s=0.02) as server, Line(bridge(server.url), is_playing=False) as line:
        await line.speak("slt_total")
        await line.until(lambda: bool(line.of(ReplyAudio)))
        server.sessions[0].kill()
        await line.until(line.has_ended)
        words = SENTENCES["slt_total"]
        assert server.sessions[1].config is not None
        assert [each["content"][0]["text"] for each in server.sessions[1].config["input"]] == [words]
        assert line.record.said == [("user", words), ("agent", ""), ("agent", f"You said: {words}")]


async def test_what_cannot_be_mended_ends_the_call() -> None:
    message = '{"type": "error", "event_id": "e", "error": {"code": "model_not_found", "type": "x", "message": "?"}}'
    async with live_server() as server, Line(bridge(server.url)) as line:
        await line.until(lambda: bool(server.sessions) and server.sessions[0].config is not None)
        await server.sessions[0].connection.send(message)
        await line.until(lambda: bool(line.of(AgentFailed)))
        assert line.of(AgentFailed)[0].reason == "GPT-Live does not know the model"


@pytest.mark.skipif(not REAL_KEY, reason="no OPENAI_API_KEY: an account, not a missing tool")
async def test_the_real_vendor_understands_and_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs a few cents."""
    monkeypatch.setenv("OPENAI_API_KEY", REAL_KEY)
    async with Line(bridge("")) as line:
        await line.speak("slt_order")
        await line.until(line.has_ended, 60)
        assert line.of(ReplyAudio)
