"""The agent of gateway/docs/parts.md, whose parts are all a service's: a call, the contract, a service that fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.agents.openai_api import KEY, Failure, OpenAIApi, calls, says, serving
from tests.unit.recordings import recording
from voice_gateway.agent.base import (
    Agent,
    AgentFailed,
    FinalTranscript,
    PlaybackFinished,
    Reply,
    ReplyAudio,
    StateChanged,
)
from voice_gateway.agent.loading import GivenSettings, load_agent, open_agent
from voice_gateway.errors import ServiceError
from voice_gateway.testing.agents import AgentContract, Caller

DOCUMENT = Path(__file__).parents[2] / "gateway" / "docs" / "parts.md"
PAUSE = bytes(2 * 32_000)


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIApi]:
    (program,) = re.findall(r"```python\n(# shop.py\n.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (tmp_path / "parts_shop.py").write_text(program)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving() as running:
        yield running


def agent_of(api: OpenAIApi) -> Agent:
    return load_agent("parts_shop:Waiter", GivenSettings({"base_url": api.url}))


async def test_the_documented_agent_takes_an_order(api: OpenAIApi) -> None:
    api.heard.append("Two taros, please.")
    api.chats.extend([calls(("add_item", {"item": "taro", "count": 2})), says("Two taros. ", "Anything else?")])
    agent = agent_of(api)
    await open_agent(agent)
    caller = Caller(agent, 20.0)
    caller.conversation.greet()
    await caller.until(lambda: bool(caller.of(ReplyAudio)) and not caller.is_replying, "the greeting")
    await caller.say(recording("slt_order") + PAUSE)
    await caller.finish()
    await agent.close()
    said = [each.text for each in caller.of(Reply) if each.text != "One moment."]  # the filler, on a busy machine
    assert said == ["Hi, what can I get you?", "Two taros.", "Anything else?"]
    assert [each.text for each in caller.of(FinalTranscript)] == ["Two taros, please."]
    states = [each.state for each in caller.of(StateChanged) if each.state is not None]
    assert states[-1] == {"items": ["2 taro"]}
    first, second = api.of("/chat/completions")
    assert [each["role"] for each in first["messages"]] == ["system", "assistant", "user"]
    assert second["messages"][-1]["content"] == "added"


@pytest.mark.parametrize("part", ["speech to text", "the language model", "text to speech"])
async def test_a_caller_hears_the_apology_where_a_service_fails(api: OpenAIApi, part: str) -> None:
    """The apology is spoken in advance: it is heard without text to speech, too."""
    agent = agent_of(api)
    await open_agent(agent)
    failed: list[AgentFailed] = []
    events: list[Any] = []

    def emit(event: Any) -> None:
        (failed if isinstance(event, AgentFailed) else events).append(event)
        if isinstance(event, StateChanged) and event.checkpoint is not None:
            conversation.saved(event.checkpoint)
        if type(event).__name__ == "ReplyEnded":
            conversation.playback_finished(PlaybackFinished("", 0))

    conversation = agent.converse(emit, None)
    caller = Caller(agent, 20.0)
    caller.conversation.close()
    caller.conversation = conversation
    conversation.greet()
    await caller.until(lambda: len(events) > 2, "the greeting")
    passed = {"speech to text": 0, "the language model": 1, "text to speech": 2}[part]
    api.failures.extend([*[Failure()] * passed, Failure(401)])
    with capture_logs() as logs:
        await caller.say(recording("slt_order") + PAUSE)
        await caller.until(lambda: bool(failed), "AgentFailed")
    await agent.close()
    assert failed == [AgentFailed("the agent failed: ServiceError")]
    assert [each.text for each in events if isinstance(each, Reply)][-2:] == [
        "Sorry, something went wrong.",
        "Please call again.",
    ]
    (log,) = [each for each in logs if each["event"] == "call_agent_failed"]
    assert log["reason"] == f"{part} at 127.0.0.1 refused the key (401)"


async def test_a_worker_with_a_wrong_key_does_not_start(api: OpenAIApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    agent = agent_of(api)
    with pytest.raises(ServiceError, match=r"text to speech at 127\.0\.0\.1 refused the key"):
        await open_agent(agent)
    await agent.close()


class TestContract(AgentContract):
    @pytest.fixture(autouse=True)
    def _use(self, api: OpenAIApi) -> None:
        self.api = api

    def make_agent(self) -> Agent:
        return agent_of(self.api)

    def utterance(self) -> bytes:
        return recording("slt_total")
