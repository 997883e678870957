"""The bridges to Deepgram, ElevenLabs and Gemini, against local servers that hold them to the vendors' own models."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import pytest

from tests.agents.support.all_vendors import apology_wav
from tests.agents.support.line import Line, framed
from tests.agents.support.renewals import renewals
from tests.agents.support.vendors import tools
from tests.agents.support.vendors.deepgram import DeepgramSession
from tests.agents.support.vendors.elevenlabs import AGENT_ID, ElevenLabsSession
from tests.agents.support.vendors.gemini import GeminiSession
from tests.agents.support.vendors.server import (
    KEY,
    Misbehaviour,
    VendorServer,
    VendorSession,
    cut_once,
    vendor_server,
)
from voice_gateway.agent.base import (
    AgentFailed,
    AudioFormat,
    FinalTranscript,
    Reply,
    ReplyAudio,
    ReplyEnded,
    UserStartedSpeaking,
)
from voice_gateway.agent.cascade.cascade import Cascade
from voice_gateway.agents.bridges.bridge.agent import BridgeAgent, BridgeSettings
from voice_gateway.agents.bridges.bridge.options import BridgeTimes
from voice_gateway.agents.bridges.bridge.upstream import UpstreamTimes
from voice_gateway.agents.bridges.deepgram import Deepgram, DeepgramSettings
from voice_gateway.agents.bridges.elevenlabs import ElevenLabs, ElevenLabsSettings
from voice_gateway.agents.bridges.gemini import Gemini, GeminiSettings
from voice_gateway.errors import AgentError
from voicelink.audio.codecs.g711 import pcmu_encode

ORDER = "can i have a brown sugar milk tea with half sugar and grass jelly"
TOTAL = "what's the total"
TOOL = f"{tools.__name__}:take_order"
SLOW_TOOL = f"{tools.__name__}:take_order_slowly"


@dataclass(frozen=True)
class Case:
    kind: type[VendorSession]
    vendor: Any
    """The class of one; each takes settings of its own."""
    settings: type[BridgeSettings]
    needed: dict[str, Any]
    key_variable: str
    tool_result: str
    audio_up: str

    def agent(self, server: VendorServer, give_up_s: float = 30.0, **given: Any) -> BridgeAgent:
        settings = self.settings(
            base_url=self.url(server), apology="Sorry.", apology_wav=apology_wav(), **self.needed, **given
        )
        return BridgeAgent(self.vendor(settings), settings, BridgeTimes(UpstreamTimes(give_up_s, open_s=10.0)))

    def url(self, server: VendorServer) -> str:
        return server.http_url if self.kind is ElevenLabsSession else server.url


CASES = [
    Case(DeepgramSession, Deepgram, DeepgramSettings, {}, "DEEPGRAM_API_KEY", "up FunctionCallResponse", "up audio"),
    Case(
        ElevenLabsSession,
        ElevenLabs,
        ElevenLabsSettings,
        {"agent_id": AGENT_ID},
        "ELEVENLABS_API_KEY",
        "up client_tool_result",
        "up user_audio_chunk",
    ),
    Case(
        GeminiSession,
        Gemini,
        GeminiSettings,
        {"model": "gemini-live"},
        "GEMINI_API_KEY",
        "up toolResponse",
        "up realtimeInput",
    ),
]
DEEPGRAM, ELEVENLABS, GEMINI = CASES
each_vendor = pytest.mark.parametrize("case", CASES, ids=["deepgram", "elevenlabs", "gemini"])


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for case in CASES:
        monkeypatch.setenv(case.key_variable, KEY)
    tools.taken.clear()


@asynccontextmanager
async def served(ears: Cascade, case: Case) -> AsyncIterator[VendorServer]:
    """Serve the vendor; at the end it must have had nothing to complain about."""
    async with vendor_server(ears, case.kind) as server:
        server.offers_tools = True
        yield server
    assert server.violations == []


def agent_of(server: VendorServer, case: Case, tool: str = TOOL, **given: Any) -> BridgeAgent:
    return case.agent(server, tools=(tool,), **given)


async def said(line: Line, count: int = 1) -> None:
    """Wait for the end of so many replies."""
    await line.until(lambda: line.has_ended(count))


def answer(number: int, what: str = '"taken"') -> str:
    return f"Sentence {number}: {what}."


def result(case: Case, text: str = "taken") -> str:
    """The result of a tool as the vendor's model sees it."""
    return f'"{text}"' if case is DEEPGRAM else text


@each_vendor
async def test_a_spoken_order_is_transcribed_and_answered(ears: Cascade, case: Case) -> None:
    async with served(ears, case) as server, Line(agent_of(server, case)) as line:
        await line.speak("slt_order")
        await said(line)
        await line.speak("slt_total")
        await said(line, 2)
        assert line.record.said == [
            ("user", ORDER),
            ("agent", answer(1, result(case))),
            ("user", TOTAL),
            ("agent", answer(2, result(case))),
        ]
        assert [words for words, _key in tools.taken] == [ORDER, TOTAL]
        assert len(server.sessions) == 1
        assert sum(len(event.pcm) for event in line.of(ReplyAudio)) > 24_000
        assert line.of(FinalTranscript)[0].through_sequence > 200


@each_vendor
async def test_what_the_caller_interrupts_is_cut_off_and_not_played_later(ears: Cascade, case: Case) -> None:
    async with served(ears, case) as server, Line(agent_of(server, case), is_playing=False) as line:
        await line.speak("slt_order")
        await said(line) if case is not ELEVENLABS else await line.until(lambda: len(line.of(ReplyAudio)) > 5)
        await line.speak("slt_total")
        await line.until(lambda: len(line.of(Reply)) == 2)
        await said(line, 2)
        second = line.events.index(line.of(FinalTranscript)[1])
        started = [at for at, event in enumerate(line.events) if isinstance(event, UserStartedSpeaking)]
        interrupted = max(at for at in started if at < second)
        between = [event for event in line.events[interrupted:second] if isinstance(event, ReplyAudio)]
        assert between == []
        assert line.record.said[1] == ("agent", "")
        assert line.record.said[-1] == ("agent", answer(2, result(case)))


@each_vendor
async def test_words_survive_a_vendor_that_is_lost_while_the_caller_speaks(ears: Cascade, case: Case) -> None:
    async with served(ears, case) as server, Line(agent_of(server, case)) as line:
        server.misbehaviour.cut = cut_once(case.audio_up, 150)
        await line.speak("slt_order")
        await said(line)
        assert line.record.said == [("user", ORDER), ("agent", answer(1, result(case)))]
        assert len(server.sessions) == 2
        assert len(tools.taken) == 1


@each_vendor
async def test_a_tool_acts_once_where_the_vendor_is_lost_before_its_result(ears: Cascade, case: Case) -> None:
    async with served(ears, case) as server, Line(agent_of(server, case)) as line:
        await line.speak("slt_order")
        await said(line)
        server.misbehaviour.cut = cut_once(case.tool_result)
        await line.speak("slt_total")
        await said(line, 2)
        assert [words for words, _key in tools.taken] == [ORDER, TOTAL]
        assert len(server.sessions) == 2
        asked = [text for role, text in line.record.said if role == "user"]
        assert asked == [ORDER, TOTAL]
        if case is not ELEVENLABS:  # which takes no history
            assert line.record.said[-1] == ("agent", answer(2, result(case)))


@each_vendor
async def test_another_worker_goes_on_in_the_middle_of_a_sentence(ears: Cascade, case: Case) -> None:
    async with served(ears, case) as server:
        async with Line(agent_of(server, case)) as line:
            await line.speak("slt_order")
            await said(line)
            given = line.record.given
            await line.speak("slt_total", frames=75)
            await line.until(lambda: len(server.sessions[0].received) > given + 60)
        record = line.record
        async with Line(agent_of(server, case), record) as line:
            line.resume()
            await line.speak("slt_total", from_sequence=record.given)
            await said(line)
            asked = [text for role, text in record.said if role == "user"]
            assert asked == [ORDER, TOTAL]
            assert [words for words, _key in tools.taken] == [ORDER, TOTAL]
            if case is not ELEVENLABS:
                assert record.said[-1] == ("agent", answer(2, result(case)))


@each_vendor
async def test_another_worker_calls_a_tool_that_had_not_returned_with_the_same_key(ears: Cascade, case: Case) -> None:
    tools.gate = asyncio.Event()
    async with served(ears, case) as server:
        async with Line(agent_of(server, case, SLOW_TOOL)) as line:
            await line.speak("slt_order")
            await line.until(lambda: len(tools.taken) == 1)
        tools.gate.set()
        async with Line(agent_of(server, case, SLOW_TOOL), line.record) as line:
            line.resume()
            await said(line)
            assert line.record.said == [("user", ORDER), ("agent", answer(1, result(case)))]
            assert len(tools.taken) == 2
            assert len(set(tools.taken)) == 1


@each_vendor
async def test_another_worker_does_not_call_a_tool_that_had_returned(ears: Cascade, case: Case) -> None:
    async with served(ears, case) as server:

        def die(name: str) -> bool:
            if name == case.tool_result:
                server.misbehaviour.status = HTTPStatus.SERVICE_UNAVAILABLE
            return name == case.tool_result

        server.misbehaviour.cut = die
        async with Line(agent_of(server, case)) as line:
            await line.speak("slt_order")
            await line.until(lambda: len(tools.taken) == 1 and not server.sessions[0].is_open)
        server.misbehaviour = Misbehaviour()
        async with Line(agent_of(server, case), line.record) as line:
            line.resume()
            await said(line)
            assert line.record.said == [("user", ORDER), ("agent", answer(1, result(case)))]
            assert len(tools.taken) == 1


@pytest.mark.parametrize("case", [DEEPGRAM, ELEVENLABS], ids=["deepgram", "elevenlabs"])
async def test_a_telephones_audio_passes_through_as_mulaw(
    ears: Cascade, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ElevenLabsSession, "audio_format", "ulaw_8000")
    async with served(ears, case) as server:
        agent = agent_of(server, case, audio="pcmu")
        assert (agent.audio_format, agent.input_rate_hz, agent.output_rate_hz) == (AudioFormat.PCMU, 8_000, 8_000)
        async with Line(agent) as line:
            line.record.unacked += [pcmu_encode(frame) for frame in framed("slt_total", 8_000)]
            await line.speak("", from_sequence=1)
            await said(line)
            assert server.sessions[0].audio_bytes > 8_000
            assert [role for role, _text in line.record.said] == ["user", "agent"]


@each_vendor
@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (HTTPStatus.UNAUTHORIZED, "refused the key (HTTP 401)"),
        (HTTPStatus.TOO_MANY_REQUESTS, "has too many requests for this key (HTTP 429)"),
        (HTTPStatus.SERVICE_UNAVAILABLE, "fails (HTTP 503)"),
    ],
)
async def test_a_vendor_that_refuses_is_named_in_one_sentence_after_an_apology(
    ears: Cascade, case: Case, status: HTTPStatus, sentence: str
) -> None:
    async with served(ears, case) as server:
        server.misbehaviour.status = status
        async with Line(agent_of(server, case, give_up_s=0)) as line:
            await line.until(lambda: bool(line.of(AgentFailed)))
            reason = line.of(AgentFailed)[0].reason
            assert reason.startswith(f"{case.vendor.name} {sentence}")
            assert KEY not in reason
            assert [event.text for event in line.of(Reply)] == ["Sorry."]
            assert line.of(ReplyAudio)
            assert line.of(ReplyEnded)


@each_vendor
async def test_a_missing_key_is_one_sentence(ears: Cascade, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(case.key_variable)
    async with served(ears, case) as server:
        with pytest.raises(AgentError, match=f"needs a key: set {case.key_variable} or agent.settings.api_key_file"):
            await agent_of(server, case).open()


@pytest.mark.parametrize("case", [DEEPGRAM, GEMINI], ids=["deepgram", "gemini"])
async def test_the_greeting_is_said_first(ears: Cascade, case: Case) -> None:
    async with served(ears, case) as server, Line(case.agent(server, greeting="Hi there.")) as line:
        line.conversation.greet()
        await said(line)
        assert line.record.said == [("agent", "Hi there.")]
        await line.speak("slt_total")
        await said(line, 2)
        assert line.record.said[1] == ("user", TOTAL)


async def test_elevenlabs_says_its_first_message_once_a_call(ears: Cascade) -> None:
    async with served(ears, ELEVENLABS) as server:
        server.offers_tools = False
        async with Line(ELEVENLABS.agent(server, first_message="Hi there.")) as line:
            await said(line)
            await line.speak("slt_total")
            await said(line, 2)
            server.cut()
            await line.until(lambda: len(server.sessions) == 2 and bool(server.sessions[1].received))
            await line.speak("slt_order")
            await said(line, 3)
            asked = [text for role, text in line.record.said if role == "user"]
            assert asked == [TOTAL, ORDER]
            assert [text for role, text in line.record.said].count("Hi there.") == 1
            second: Any = server.sessions[1]
            so_far = f"Agent: Hi there.\nCaller: {TOTAL}\nAgent: Sentence 1: {TOTAL}."
            assert second.initiation["dynamic_variables"] == {"conversation_so_far": so_far}
            assert second.context[0].endswith(so_far)


async def test_a_greeting_in_the_settings_of_elevenlabs_is_refused() -> None:
    with pytest.raises(ValueError, match="set first_message to override it"):
        ElevenLabsSettings(agent_id=AGENT_ID, greeting="Hi.")


async def test_elevenlabs_formats_that_differ_from_the_settings_are_one_sentence(ears: Cascade) -> None:
    async with served(ears, ELEVENLABS) as server, Line(agent_of(server, ELEVENLABS, audio="pcmu")) as line:
        await line.until(lambda: bool(line.of(AgentFailed)))
        sentence = "ElevenLabs has pcm_16000 configured for the agent: set both formats to ulaw 8000 Hz"
        assert line.of(AgentFailed)[0].reason == sentence


async def test_deepgram_gets_keep_alives_only_while_no_audio_is_sent(ears: Cascade) -> None:
    async with served(ears, DEEPGRAM) as server, Line(DEEPGRAM.agent(server)) as line:
        await line.speak("slt_total")
        await said(line)
        received = server.sessions[0].received
        await line.until(lambda: "KeepAlive" in received)
        assert "audio" not in received[received.index("KeepAlive") :]


async def test_deepgram_is_given_the_history_by_a_new_session_before_the_end_of_the_last(
    ears: Cascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = renewals(monkeypatch, session_s=1_800.0)
    async with served(ears, DEEPGRAM) as server, Line(DEEPGRAM.agent(server, session_s=1_800.0)) as line:
        await line.speak("slt_order")
        await said(line)
        ends.is_near = True
        await line.until(lambda: len(server.sessions) == 2 and len(server.sessions[1].received) > 0)
        await line.speak("slt_total")
        await said(line, 2)
        session: Any = server.sessions[1]
        history = [(each["role"], each["content"]) for each in session.settings["agent"]["context"]["messages"]]
        assert history[:2] == [("user", ORDER), ("assistant", f"Sentence 1: {ORDER}.")]
        assert line.record.said[-1] == ("agent", f"Sentence 2: {TOTAL}.")


async def test_gemini_is_resumed_by_its_handle_once_the_old_connection_is_closed(ears: Cascade) -> None:
    async with served(ears, GEMINI) as server, Line(GEMINI.agent(server)) as line:
        await line.speak("slt_order")
        await said(line)
        first: Any = server.sessions[0]
        first.go_away()
        await line.until(lambda: len(server.sessions) == 2)
        await line.speak("slt_total")
        await said(line, 2)
        second: Any = server.sessions[1]
        assert second.resumed == "handle-1-2"
        assert "historyConfig" not in second.setup
        assert line.record.said[-1] == ("agent", f"Sentence 2: {TOTAL}.")


async def test_gemini_is_given_the_history_where_it_gives_no_handle(
    ears: Cascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GeminiSession, "resumes", False)
    async with served(ears, GEMINI) as server, Line(GEMINI.agent(server)) as line:
        await line.speak("slt_order")
        await said(line)
        server.cut()
        await line.until(lambda: len(server.sessions) == 2)
        await line.speak("slt_total")
        await said(line, 2)
        second: Any = server.sessions[1]
        assert second.setup["historyConfig"] == {"initialHistoryInClientContent": True}
        assert line.record.said[-1] == ("agent", f"Sentence 2: {TOTAL}.")


LIVE = [
    (DEEPGRAM, {}, "DEEPGRAM_API_KEY"),
    (ELEVENLABS, {"agent_id": os.environ.get("ELEVENLABS_AGENT_ID", "")}, "ELEVENLABS_AGENT_ID"),
    (GEMINI, {"model": os.environ.get("GEMINI_LIVE_MODEL", "")}, "GEMINI_LIVE_MODEL"),
]
REAL_KEYS = {case.key_variable: os.environ.get(case.key_variable, "") for case in CASES}


@pytest.mark.parametrize(("case", "needed", "variable"), LIVE, ids=["deepgram", "elevenlabs", "gemini"])
async def test_the_vendor_itself_answers(
    case: Case, needed: dict[str, Any], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = REAL_KEYS[case.key_variable]
    if not key or not os.environ.get(variable):
        pytest.skip(f"talks with the vendor where {case.key_variable} and {variable} are set")  # with STRICT=1 too
    monkeypatch.setenv(case.key_variable, key)
    settings = case.settings(apology="Sorry.", apology_wav=apology_wav(), **needed)
    async with Line(BridgeAgent(case.vendor(settings), settings)) as line:
        await line.speak("slt_total")
        await line.until(lambda: bool(line.of(FinalTranscript) and line.of(ReplyAudio)), 30.0)
        assert not line.of(AgentFailed)
