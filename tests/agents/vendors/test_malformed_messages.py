"""Messages of a vendor that do not fit its protocol, by every bridge: the call goes on, or ends with the apology."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.agents.support.all_vendors import (
    DEEPGRAM,
    ELEVENLABS,
    GEMINI,
    GPT_LIVE,
    KINDS,
    OPENAI,
    Kind,
    LocalVendor,
    local_vendor,
)
from tests.agents.support.line import Line
from voice_gateway.agent.base import AgentFailed, Reply, ReplyAudio, UserText
from voice_gateway.agents.bridges.bridge import upstream

TEXT, MORE = "a taro tea", "and a matcha latte"
each_vendor = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
_NOT_BASE64 = "%%%secret words%%%"

MALFORMED: dict[str, dict[Kind, Any]] = {
    "bad JSON": dict.fromkeys(KINDS, "{secret words"),
    "no object": dict.fromkeys(KINDS, '["secret words"]'),
    "no UTF-8": {kind: b"\xff\xfesecret words" for kind in KINDS if kind is not DEEPGRAM},  # whose audio is binary
    "a missing field": {
        OPENAI: {"type": "response.done", "words": "secret words"},
        GPT_LIVE: {"type": "session.output_transcript.delta", "delta": "secret words"},
        DEEPGRAM: {"type": "ConversationText", "content": "secret words"},
        ELEVENLABS: {"type": "user_transcript", "user_transcription_event": {"words": "secret words"}},
        GEMINI: {"toolCall": {"functionCalls": [{"name": "secret words"}]}},
    },
    "a wrong type": {
        OPENAI: {"type": "error", "error": "secret words"},
        GPT_LIVE: {"type": "session.started", "session": {"expires_at": "secret words"}},
        DEEPGRAM: {"type": "FunctionCallRequest", "functions": "secret words"},
        ELEVENLABS: {"type": "ping", "ping_event": {"event_id": "secret words"}},
        GEMINI: {"serverContent": "secret words"},
    },
    "bad base64": {
        OPENAI: {"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": _NOT_BASE64},
        GPT_LIVE: {"type": "session.output_audio.delta", "delta": _NOT_BASE64},
        ELEVENLABS: {"type": "audio", "audio_event": {"audio_base_64": _NOT_BASE64, "event_id": 1_000}},
        GEMINI: {
            "serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm", "data": _NOT_BASE64}}]}}
        },
    },
    "a value out of range": {GEMINI: {"goAway": {"timeLeft": "secret words"}}},
    "nested without end": dict.fromkeys(KINDS, '{"type": ' + "[" * 20_000 + "]" * 20_000 + "}"),
}
CASES = [
    pytest.param(kind, message if isinstance(message, str | bytes) else json.dumps(message), id=f"{kind.name}-{name}")
    for name, messages in MALFORMED.items()
    for kind, message in messages.items()
]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in KINDS:
        monkeypatch.setenv(kind.key_variable, kind.key)


async def answered(line: Line, vendor: LocalVendor, text: str, count: int) -> None:
    line.conversation.text_received(UserText(count, text))
    await line.until(lambda: line.has_ended(count))


@pytest.mark.parametrize(("kind", "message"), CASES)
async def test_a_malformed_message_is_counted_and_its_session_replaced_with_the_history(
    kind: Kind, message: str | bytes
) -> None:
    async with local_vendor(kind) as vendor:
        agent = vendor.agent()
        async with Line(agent) as line:
            await line.until(vendor.is_up)
            await answered(line, vendor, TEXT, 1)
            with capture_logs() as logs:
                await vendor.send(message)
                await line.until(lambda: vendor.is_up(1))
            await answered(line, vendor, MORE, 2)
            asked = [TEXT, MORE] if kind.takes_history else [MORE]
            assert vendor.asked() == asked
            assert line.record.said[2:] == [("user", MORE), ("agent", kind.answer(MORE, len(asked)))]
            assert agent.malformed_messages == {"shape": 1}
            assert not line.of(AgentFailed)
    [warning] = [each for each in logs if each["event"] == "bridge_message_malformed"]
    assert (warning["kind"], warning["size"], warning["sessions_in_a_row"]) == ("shape", len(message), 1)
    assert "secret words" not in str(logs)


@each_vendor
async def test_an_oversized_message_is_counted_and_its_session_replaced(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "_LARGEST_MESSAGE", 65_536)
    async with local_vendor(kind) as vendor:
        agent = vendor.agent()
        async with Line(agent) as line:
            await line.until(vendor.is_up)
            await vendor.send(json.dumps({"type": "x" * 65_536}))
            await line.until(lambda: vendor.is_up(1))
            await answered(line, vendor, TEXT, 1)
            assert agent.malformed_messages == {"oversized": 1}


@each_vendor
async def test_a_turn_that_waits_for_its_answer_is_answered_by_the_next_session(kind: Kind) -> None:
    async with local_vendor(kind) as vendor, Line(vendor.agent()) as line:
        await line.until(vendor.is_up)
        line.conversation.text_received(UserText(1, TEXT))
        await vendor.send("{")
        await line.until(lambda: vendor.is_up(1) and bool(line.record.said[1:]) and line.record.said[-1][1] != "")
        await line.until(lambda: line.record.private == {})
        assert line.record.said[0] == ("user", TEXT)
        assert line.record.said[-1] == ("agent", kind.answer(TEXT))
        assert [role for role, _text in line.record.said].count("user") == 1


@each_vendor
async def test_three_malformed_sessions_in_a_row_end_the_call_with_the_apology(kind: Kind) -> None:
    async with local_vendor(kind) as vendor:
        agent = vendor.agent()
        async with Line(agent) as line:
            for number in range(3):
                await line.until(lambda number=number: vendor.is_up(number))  # type: ignore[misc]  # a default binds it
                await vendor.send("{")
            await line.until(lambda: bool(line.of(AgentFailed)))
            assert line.of(AgentFailed)[0].reason.endswith("sent malformed messages in 3 sessions in a row")
            assert [event.text for event in line.of(Reply)] == ["Sorry."]
            assert line.of(ReplyAudio)
            assert len(vendor.sessions) == 3
            assert agent.malformed_messages == {"shape": 3}


@each_vendor
async def test_an_answer_ends_a_row_of_malformed_sessions(kind: Kind) -> None:
    async with local_vendor(kind) as vendor, Line(vendor.agent()) as line:
        for number in range(4):
            await line.until(lambda number=number: vendor.is_up(number))  # type: ignore[misc]  # a default binds it
            if number == 2:
                await answered(line, vendor, TEXT, 1)
            await vendor.send("{")
        await line.until(lambda: vendor.is_up(4))
        await answered(line, vendor, MORE, 2)
        assert not line.of(AgentFailed)
