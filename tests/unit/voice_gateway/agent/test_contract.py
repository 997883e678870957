"""The agents of the gateway keep the contract that is shipped for all agents, and agents that break it are found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from testbed.calls.agents import inline_order_agent
from tests.unit.recordings import recording
from voice_gateway.agent.base import (
    Agent,
    Conversation,
    Emit,
    FinalTranscript,
    NoSpeechUpTo,
    Reply,
    ReplyAudio,
    ReplyEnded,
    UserAudio,
    UserStartedSpeaking,
)
from voice_gateway.agent.loading import load_agent
from voice_gateway.testing.agents import AgentContract


class TestEcho(AgentContract):
    def make_agent(self) -> Agent:
        return load_agent("echo")


class TestPcmuEcho(AgentContract):
    def make_agent(self) -> Agent:
        return load_agent("echo-pcmu")


class TestOrder(AgentContract):
    @pytest.fixture(autouse=True)
    def models(self) -> None:
        """Load them before there is an event loop."""
        inline_order_agent()

    def make_agent(self) -> Agent:
        return inline_order_agent()

    def utterance(self) -> bytes:
        return recording("slt_order")


class Plain(Agent):
    """The least that an agent is."""

    kind: type[Conversation] = Conversation

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        return self.kind(emit)


class TestPlain(AgentContract):
    answers_speech = False

    def make_agent(self) -> Agent:
        return Plain()


class Mute(Conversation):
    def finish(self) -> None: ...


class Hoarder(Conversation):
    def hear(self, audio: UserAudio) -> None: ...


class Endless(Conversation):
    def finish(self) -> None:
        self.emit(Reply("well"))
        super().finish()


class Loud(Conversation):
    def greet(self) -> None:
        self.emit(ReplyAudio(b"\0\0"))
        self.emit(ReplyEnded())


class Eager(Conversation):
    def hear(self, audio: UserAudio) -> None:
        self.emit(NoSpeechUpTo(audio.sequence + 1))


class Forgetful(Conversation):
    """Gives up the frames of an utterance that it has announced."""

    def hear(self, audio: UserAudio) -> None:
        if audio.sequence == 30:
            self.emit(UserStartedSpeaking(30))
        self.emit(NoSpeechUpTo(audio.sequence))


class Backwards(Conversation):
    def finish(self) -> None:
        self.emit(NoSpeechUpTo(0))
        super().finish()


class Ghost(Conversation):
    def __init__(self, emit: Emit) -> None:
        super().__init__(emit)
        self.emit = emit  # type: ignore[assignment,method-assign]  # it does not care that it was closed


class Picture(Conversation):
    def finish(self) -> None:
        self.emit(FinalTranscript("", 0, {"picture": {1, 2}}))
        super().finish()


class Paraphrase(Conversation):
    def say_again(self, text: str) -> None:
        self.emit(Reply(f"I said {text}"))
        self.emit(ReplyEnded())

    def hear(self, audio: UserAudio) -> None:
        if audio.sequence == 1:
            self.emit(Reply("hello"))
            self.emit(ReplyEnded())


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (Mute, "finish_without_a_frame_is_answered"),
        (Hoarder, "silence_is_released"),
        (Endless, "every_reply_has_a_beginning_and_an_end"),
        (Loud, "every_reply_has_a_beginning_and_an_end"),
        (Eager, "an_utterance_is_answered"),
        (Forgetful, "frames_of_an_utterance_are_kept_until_it_is_understood"),
        (Backwards, "acknowledged_frames_never_go_back"),
        (Ghost, "a_closed_conversation_emits_nothing"),
        (Picture, "a_saved_state_is_plain_and_can_be_restored"),
        (Paraphrase, "a_reply_is_said_again_word_by_word_or_not_at_all"),
    ],
)
def test_the_contract_finds(kind: type[Conversation], test: str) -> None:
    class Broken(TestPlain):
        timeout_s = 0.05

        def make_agent(self) -> Agent:
            agent = Plain()
            agent.kind = kind
            return agent

    with pytest.raises((AssertionError, TypeError)):
        getattr(Broken(), f"test_{test}")()
