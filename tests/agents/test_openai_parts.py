"""Chat, speech to text and text to speech against a service with OpenAI's API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.agents.openai_api import KEY, Failure, OpenAIApi, calls, says, serving
from voice_gateway.agent.call.llm import ToolRequest
from voice_gateway.agent.call.progress.tools import tool_schema
from voice_gateway.agent.openai import OpenAIChat, OpenAISpeech, OpenAITranscription, Service
from voice_gateway.errors import AgentError, ServiceError

ASKED = [{"role": "user", "content": "a taro"}]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIApi]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving() as running:
        yield running


def service(api: OpenAIApi, **changes: Any) -> Service:
    return Service(base_url=api.url, **{"timeout_s": 20.0, **changes})


def add_item(item: str, count: int = 1) -> str:
    """Add a drink."""
    return f"{count} {item}"


async def chatted(api: OpenAIApi, tools: Sequence[Any] = (), **changes: Any) -> list[str | ToolRequest]:
    chat = OpenAIChat("a-model", instructions="Be brief.", service=service(api, **changes))
    await chat.open()
    try:
        return [piece async for piece in chat.choose(ASKED, [tool_schema(each) for each in tools])]
    finally:
        await chat.close()


async def test_chat_streams_the_text_in_pieces(api: OpenAIApi) -> None:
    api.chats.append(says("One ", "taro."))
    chat = OpenAIChat("a-model", service=service(api), parameters={"temperature": 0.3})
    await chat.open()
    assert [piece async for piece in chat.stream(ASKED)] == ["One ", "taro."]
    await chat.close()
    assert api.of("/chat/completions") == [{"model": "a-model", "messages": ASKED, "stream": True, "temperature": 0.3}]


async def test_chat_offers_tools_and_yields_the_calls_that_the_model_wants(api: OpenAIApi) -> None:
    api.chats.append(calls(("add_item", {"item": "taro"}), ("add_item", {"item": "matcha", "count": 2})))
    assert await chatted(api, [add_item]) == [
        ToolRequest("call-add_item-0", "add_item", '{"item": "taro"}'),
        ToolRequest("call-add_item-1", "add_item", '{"item": "matcha", "count": 2}'),
    ]
    (request,) = api.of("/chat/completions")
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}
    assert request["tools"][0]["function"]["name"] == "add_item"


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_request_that_failed_for_now_is_repeated(api: OpenAIApi, status: int) -> None:
    api.failures.append(Failure(status))
    api.chats.append(says("Yes."))
    assert await chatted(api) == ["Yes."]
    assert len(api.seconds) == 2


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (Failure(400, code="context_length_exceeded"), "refused the request (400 context_length_exceeded)"),
        (Failure(403), "does not allow this to the key (403)"),
        (Failure(404), "has no such model or path: see base_url and model (404)"),
        (Failure(429, code="insufficient_quota"), "takes no more requests: its rate limit or the account's quota is"),
        (Failure(503), "failed (503)"),
        (Failure(wait_s=60.0), "did not answer within 0.3 s"),
        (Failure(after_pieces=2), "broke off its answer"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Failure) else "",
)
async def test_an_error_is_one_sentence_without_the_services_own_text(
    api: OpenAIApi, failure: Failure, sentence: str
) -> None:
    api.failures.append(failure)
    api.chats.append(says("Yes.", "No."))
    with pytest.raises(ServiceError) as caught:
        await chatted(api, retries=0, timeout_s=0.3 if failure.wait_s else 20.0)
    assert f"the language model at 127.0.0.1 {sentence}" in str(caught.value)
    assert "taro" not in str(caught.value)
    assert KEY not in str(caught.value)


async def test_a_refused_key_is_not_tried_again(api: OpenAIApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    with pytest.raises(ServiceError, match=r"refused the key \(401 invalid_api_key\)"):
        await chatted(api)
    assert len(api.seconds) == 1


async def test_repetitions_end_when_the_patience_does(api: OpenAIApi) -> None:
    api.failures.extend([Failure(503)] * 9)
    with pytest.raises(ServiceError, match=r"did not answer within 0\.8 s"):
        await chatted(api, retries=8, patience_s=0.8)


async def test_an_address_without_a_service_is_said_to_be_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(ServiceError, match=r"the language model at 127\.0\.0\.1 cannot be reached"):
        await chatted(OpenAIApi(url="http://127.0.0.1:9/v1"), retries=0)


async def test_a_key_may_lie_in_a_file(api: OpenAIApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    (tmp_path / "key").write_text(f"{KEY}\n")
    api.chats.append(says("Yes."))
    assert await chatted(api, key_file=tmp_path / "key") == ["Yes."]


async def test_openai_itself_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(AgentError, match="OPENAI_API_KEY is not set"):
        await OpenAIChat("a-model").open()


async def recognised(api: OpenAIApi, pcm: bytes, **changes: Any) -> Any:
    recogniser = OpenAITranscription("a-model", language="en", service=service(api, **changes))
    await recogniser.open()
    words: list[Any] = []
    utterance = recogniser.begin(lambda words_, is_final: words.append((words_, is_final)))
    utterance.feed(pcm[:640])
    utterance.feed(pcm[640:])
    utterance.end()
    await recogniser_done(recogniser)
    await recogniser.close()
    ((final, is_final),) = words
    assert is_final
    return final


async def recogniser_done(recogniser: OpenAITranscription) -> None:
    for task in tuple(recogniser._running):
        await task


async def test_a_turn_is_sent_as_a_wav_file_and_comes_back_as_words(api: OpenAIApi) -> None:
    api.heard.append(" One taro, please. ")
    assert await recognised(api, bytes(32_000)) == ("One", "taro,", "please.")
    (request,) = api.of("/audio/transcriptions")
    assert request["file"].duration_s == 1.0
    assert (request["model"], request["language"]) == ("a-model", "en")


async def test_speech_to_text_that_fails_gives_an_error_for_the_words(api: OpenAIApi) -> None:
    api.failures.append(Failure(401))
    error = await recognised(api, bytes(32_000), retries=0)
    assert isinstance(error, ServiceError)
    assert str(error) == "speech to text at 127.0.0.1 refused the key (401)"


async def test_an_abandoned_turn_has_no_words(api: OpenAIApi) -> None:
    api.failures.append(Failure(wait_s=0.3))
    api.heard.append("late")
    recogniser = OpenAITranscription("a-model", service=service(api))
    await recogniser.open()
    words: list[Any] = []
    utterance = recogniser.begin(lambda *given: words.append(given))
    utterance.feed(bytes(3_200))
    utterance.end()
    utterance.abandon()
    await recogniser.close()
    assert words == []


async def made(api: OpenAIApi, **changes: Any) -> list[bytes]:
    speech = OpenAISpeech("a-voice-model", "alloy", service=service(api, **changes))
    await speech.open()
    try:
        return [pcm async for pcm in speech.synthesize("One taro.")]
    finally:
        await speech.close()


async def test_speech_comes_as_whole_samples(api: OpenAIApi) -> None:
    pieces = await made(api)
    assert sum(map(len, pieces)) == 9_600
    assert all(len(piece) % 2 == 0 for piece in pieces)
    (request,) = api.of("/audio/speech")
    assert request == {"model": "a-voice-model", "voice": "alloy", "input": "One taro.", "response_format": "pcm"}


async def test_a_service_that_sends_a_file_in_place_of_samples_is_named(api: OpenAIApi) -> None:
    api.speech = [b"RIFF" + bytes(100)]
    with pytest.raises(ServiceError, match="does not know response_format pcm"):
        await made(api)


async def test_speech_that_breaks_off_is_an_error(api: OpenAIApi) -> None:
    api.failures.append(Failure(after_pieces=1))
    with pytest.raises(ServiceError, match=r"text to speech at 127\.0\.0\.1 broke off its answer"):
        await made(api)
