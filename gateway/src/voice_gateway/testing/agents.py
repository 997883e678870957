"""The contract of agents, as tests.

from voice_gateway.testing.agents import AgentContract

class TestShop(AgentContract):
    def make_agent(self):
        return ShopAgent()

    def utterance(self):
        return pcm16_at_16_khz
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from voice_gateway.agent.base import (
    Agent,
    AgentEvent,
    AgentFailed,
    AppMessage,
    AudioFormat,
    CallClientTool,
    CancelClientTool,
    ClientToolResult,
    Conversation,
    FinalTranscript,
    Finished,
    NoSpeechUpTo,
    PlaybackFinished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    SendAppMessage,
    SessionView,
    StateChanged,
    StopReply,
    UserAudio,
    UserStartedSpeaking,
    UserText,
)
from voice_gateway.agent.call.agent import CallAgent, as_agent
from voice_gateway.store.base import Line
from voicelink.audio.codecs.g711 import pcmu_encode
from voicelink.audio.resample import Resampler

UTTERANCE_RATE_HZ: Final = 16_000
_FRAMES_PER_S: Final = 50
_PAUSE_S: Final = 3.0
_RATES_HZ: Final = range(8_000, 48_001)
_SAVED: Final = (FinalTranscript, StateChanged, SendAppMessage, CallClientTool, CancelClientTool)


@dataclass(slots=True)
class Caller:
    """One conversation as a session holds it: gives frames, and keeps the events and the frames they came after.

    It saves at once, and plays each reply at the moment when the reply has ended.
    """

    agent: Agent
    timeout_s: float
    state: Mapping[str, Any] | None = None
    private_state: Mapping[str, Any] = field(default_factory=dict)
    transcript: list[Line] = field(default_factory=list)
    session_id: str = "contract"
    """An agent in a host has one conversation of a session; the next one takes its place."""
    events: list[AgentEvent] = field(default_factory=list)
    sequence: int = -1
    """The last frame given; -1 before the first one."""
    is_replying: bool = False
    """Whether a reply has begun, and neither ended nor been interrupted."""
    conversation: Conversation = field(init=False)

    def __post_init__(self) -> None:
        self.conversation = self.agent.converse(self._take, self.state)
        turn = max((line.turn for line in self.transcript), default=0)
        self.conversation.opened(
            SessionView(self.session_id, turn, self.private_state, lambda: tuple(self.transcript), lambda: True)
        )

    def _take(self, event: AgentEvent) -> None:
        assert not isinstance(event, AgentFailed), f"the agent failed: {event.reason}"
        self.events.append(event)
        if isinstance(event, FinalTranscript | NoSpeechUpTo):
            assert event.through_sequence <= self.sequence, f"{event} names a frame that was not given yet"
        self._save(event)
        if isinstance(event, Reply):
            self.is_replying = True
        elif isinstance(event, ReplyEnded):
            self.is_replying = False
            said = self.of(Reply)
            if said:
                self.conversation.playback_finished(PlaybackFinished(said[-1].text, 0))
        elif isinstance(event, StopReply | UserStartedSpeaking) and self.is_replying:
            self.interrupt()

    def _save(self, event: AgentEvent) -> None:
        turn = len(self.of(FinalTranscript))
        if isinstance(event, FinalTranscript):
            self.transcript.append(Line(turn, "user", event.text))
        elif isinstance(event, Reply):
            self.transcript.append(Line(turn, "agent", event.text))
        if isinstance(event, _SAVED) and event.private_state is not None:
            self.private_state = event.private_state
        if isinstance(event, StateChanged) and event.checkpoint is not None:
            self.conversation.saved(event.checkpoint)

    @property
    def acked_messages(self) -> list[int]:
        """The numbers of messages that the agent has acknowledged, in order."""
        events = self.of(FinalTranscript, StateChanged)
        return [event.through_message for event in events if event.through_message is not None]

    def interrupt(self) -> None:
        """Cut the reply off, as a session does when the user starts to speak."""
        self.is_replying = False
        self.conversation.interrupted(0)

    @property
    def through_sequence(self) -> int:
        """The last frame that may be acknowledged."""
        through = [e.through_sequence for e in self.events if isinstance(e, FinalTranscript | NoSpeechUpTo)]
        return max(through, default=-1)

    def of(self, *kinds: type[AgentEvent]) -> list[Any]:
        """Return the events of these kinds, in order."""
        return [event for event in self.events if isinstance(event, kinds)]

    async def say(self, pcm: bytes, frame_s: float = 1 / _FRAMES_PER_S) -> None:
        """Give PCM16 at 16 kHz, converted to what the agent takes, in frames of this length."""
        audio = _converted(pcm, self.agent)
        sample_bytes = 1 if self.agent.audio_format is AudioFormat.PCMU else 2
        size = round(self.agent.input_rate_hz * frame_s) * sample_bytes
        for start in range(0, len(audio), size):
            self.sequence += 1
            self.conversation.hear(UserAudio(self.sequence, audio[start : start + size]))
            await asyncio.sleep(0)

    async def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for the agent; fails where that takes longer than the timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.timeout_s):
                while not is_so():  # noqa: ASYNC110 - an agent has no event to wait for
                    await asyncio.sleep(0.005)
        assert is_so(), f"{what} did not come within {self.timeout_s:g} s; there were {_kinds(self.events)}"

    async def finish(self) -> None:
        """Say that no audio follows, and wait for the answer."""
        before = len(self.of(Finished))
        self.conversation.finish()
        await self.until(lambda: len(self.of(Finished)) > before, "Finished")


class AgentContract:
    """Subclass it as `TestMine`, with `make_agent`; override `utterance` where the agent understands speech only."""

    timeout_s: float = 20.0
    """How long the agent may take for an answer."""
    answers_speech: bool = True
    """Whether the agent replies to `utterance`; false for one that only speaks or only listens."""

    def make_agent(self) -> Agent | CallAgent:
        """Return a new agent."""
        raise NotImplementedError

    def utterance(self) -> bytes:
        """Return what a user says, PCM16 mono at 16 kHz, without a pause behind it. Default: 0.6 s of a loud tone."""
        times = np.arange(round(0.6 * UTTERANCE_RATE_HZ)) / UTTERANCE_RATE_HZ
        return bytes((8_000 * np.sin(2 * math.pi * 300 * times)).astype("<i2").tobytes())

    def test_the_agent_says_what_audio_it_wants(self) -> None:
        agent = self._made()
        assert isinstance(agent, Agent)
        assert isinstance(agent.audio_format, AudioFormat)
        assert agent.input_rate_hz in _RATES_HZ
        assert agent.output_rate_hz in _RATES_HZ
        if agent.audio_format is AudioFormat.PCMU:
            assert (agent.input_rate_hz, agent.output_rate_hz) == (8_000, 8_000), "mu-law is at 8 kHz"

    def test_an_agent_that_never_opened_closes(self) -> None:
        asyncio.run(self._made().close())

    def test_finish_without_a_frame_is_answered(self) -> None:
        async def scenario(caller: Caller) -> None:
            await caller.finish()

        self._run(scenario)

    def test_finish_is_answered_each_time(self) -> None:
        async def scenario(caller: Caller) -> None:
            await caller.say(self._with_pause())
            await caller.finish()
            assert isinstance(caller.events[-1], Finished), "Finished comes last"
            await caller.finish()
            assert len(caller.of(Finished)) == 2

        self._run(scenario)

    def test_an_utterance_is_answered(self) -> None:
        async def scenario(caller: Caller) -> None:
            await caller.say(self._with_pause())
            await caller.finish()
            if self.answers_speech:
                assert caller.of(FinalTranscript)
                assert any(event.pcm for event in caller.of(ReplyAudio))

        self._run(scenario)

    def test_finish_ends_an_utterance_without_a_pause(self) -> None:
        async def scenario(caller: Caller) -> None:
            await caller.say(bytes(UTTERANCE_RATE_HZ) + self.utterance())
            await caller.finish()
            if self.answers_speech:
                assert caller.of(FinalTranscript)

        self._run(scenario)

    def test_every_reply_has_a_beginning_and_an_end(self) -> None:
        async def scenario(caller: Caller) -> None:
            caller.conversation.greet()
            await caller.until(lambda: not caller.is_replying, "the end of the greeting")
            await caller.say(self._with_pause() * 2)
            await caller.finish()
            _check_replies(caller.events, caller.agent)

        self._run(scenario)

    def test_frames_of_an_utterance_are_kept_until_it_is_understood(self) -> None:
        async def scenario(caller: Caller) -> None:
            await caller.say(self._with_pause() * 2)
            await caller.finish()
            begun: list[int] = []
            for event in caller.events:
                if isinstance(event, UserStartedSpeaking):
                    begun.append(event.sequence)
                elif isinstance(event, FinalTranscript):
                    begun = [sequence for sequence in begun if sequence > event.through_sequence]
                elif isinstance(event, NoSpeechUpTo):
                    lost = [sequence for sequence in begun if sequence <= event.through_sequence]
                    assert not lost, f"{event} gives up frames of the utterance that began at {lost[0]}"

        self._run(scenario)

    def test_acknowledged_frames_never_go_back(self) -> None:
        async def scenario(caller: Caller) -> None:
            await caller.say(self._with_pause() * 2)
            await caller.finish()
            through = [event.through_sequence for event in caller.of(FinalTranscript, NoSpeechUpTo)]
            assert through == sorted(through)

        self._run(scenario)

    def test_silence_is_released(self) -> None:
        """Callers keep every frame until it is acknowledged: not more than 5 s of silence."""

        async def scenario(caller: Caller) -> None:
            await caller.say(bytes(10 * 2 * UTTERANCE_RATE_HZ))
            enough = caller.sequence - 5 * _FRAMES_PER_S
            await caller.until(lambda: caller.through_sequence >= enough, "NoSpeechUpTo")
            assert not caller.of(FinalTranscript)

        self._run(scenario)

    def test_a_long_frame_is_taken(self) -> None:
        """DTX leaves gaps: a frame then has the silence before it."""

        async def scenario(caller: Caller) -> None:
            await caller.say(self._with_pause(), frame_s=0.5)
            await caller.finish()
            if self.answers_speech:
                assert caller.of(FinalTranscript)

        self._run(scenario)

    def test_a_saved_state_is_plain_and_can_be_restored(self) -> None:
        async def scenario(caller: Caller) -> None:
            await caller.say(self._with_pause())
            await caller.finish()
            events = caller.of(FinalTranscript, StateChanged)
            states = [event.state for event in events if event.state is not None]
            private = [event.private_state for event in events if event.private_state is not None]
            for state in (*states, *private):
                saved = msgspec.msgpack.decode(msgspec.msgpack.encode(state))
                assert saved == dict(state), "a state consists of plain maps, lists, strings and numbers"
            caller.conversation.close()
            for state in states:
                restored = Caller(caller.agent, self.timeout_s, state, caller.private_state, list(caller.transcript))
                restored.conversation.greet_again()
                await restored.finish()
                restored.conversation.close()

        self._run(scenario)

    def test_a_reply_is_said_again_word_by_word_or_not_at_all(self) -> None:
        async def scenario(caller: Caller) -> None:
            await caller.say(self._with_pause())
            await caller.finish()  # an agent may say several things
            assert caller.of(Reply) or not self.answers_speech
            for text in [event.text for event in caller.of(Reply)]:
                count = len(caller.of(Reply))
                caller.conversation.say_again(text)
                await caller.finish()
                assert {event.text for event in caller.of(Reply)[count:]} <= {text}
            _check_replies(caller.events, caller.agent)

        self._run(scenario)

    def test_an_interrupted_reply_stops(self) -> None:
        async def scenario(caller: Caller) -> None:
            caller.conversation.greet()
            if caller.is_replying:
                caller.interrupt()
                count = len(caller.events)
                await asyncio.sleep(0.2)
                late = [e for e in caller.events[count:] if isinstance(e, ReplyAudio | ReplyEnded)]
                assert not late, "nothing of a reply follows its interruption"
            await caller.finish()

        self._run(scenario)

    def test_a_closed_conversation_emits_nothing(self) -> None:
        async def scenario(caller: Caller) -> None:
            await caller.say(bytes(UTTERANCE_RATE_HZ) + self.utterance())
            caller.conversation.close()
            events = list(caller.events)
            await caller.say(self._with_pause())
            caller.conversation.finish()
            await asyncio.sleep(0.2)
            assert caller.events == events

        self._run(scenario)

    def test_conversations_do_not_mix(self) -> None:
        async def scenario(caller: Caller) -> None:
            other = Caller(caller.agent, self.timeout_s, session_id="another")
            await other.say(bytes(UTTERANCE_RATE_HZ))
            await caller.say(self._with_pause())
            await caller.finish()
            assert not other.of(FinalTranscript, Reply, Finished, UserStartedSpeaking)
            await other.finish()

        self._run(scenario)

    def test_every_key_of_a_telephone_may_be_pressed(self) -> None:
        async def scenario(caller: Caller) -> None:
            for digit in "0123456789ABCD*#":
                caller.conversation.pressed(digit)
            await caller.until(lambda: not caller.is_replying, "the end of a reply")
            await caller.finish()

        self._run(scenario)

    def test_messages_of_the_client_are_acknowledged(self) -> None:
        async def scenario(caller: Caller) -> None:
            caller.conversation.text_received(UserText(0, "hello"))
            caller.conversation.app_message_received(AppMessage(1, {"screen": "menu"}))
            caller.conversation.client_tool_returned(ClientToolResult("no such call", number=2))
            await caller.until(lambda: 2 in caller.acked_messages, "`through_message` of every message")
            await caller.until(lambda: not caller.is_replying, "the end of a reply")
            await caller.finish()
            assert caller.acked_messages == sorted(caller.acked_messages)

        self._run(scenario)

    def _made(self) -> Agent:
        made = self.make_agent()
        return as_agent(made) if isinstance(made, CallAgent) else made

    def _with_pause(self) -> bytes:
        return bytes(UTTERANCE_RATE_HZ) + self.utterance() + bytes(round(_PAUSE_S * 2 * UTTERANCE_RATE_HZ))

    def _run(self, scenario: Callable[[Caller], Awaitable[None]]) -> None:
        async def run() -> None:
            agent = self._made()
            try:
                await agent.open()
                await scenario(Caller(agent, self.timeout_s))
            finally:
                await agent.close()

        asyncio.run(run())


def _converted(pcm: bytes, agent: Agent) -> bytes:
    if agent.input_rate_hz != UTTERANCE_RATE_HZ:
        resampler = Resampler(UTTERANCE_RATE_HZ, agent.input_rate_hz)
        pcm = resampler.push(pcm)
    return pcmu_encode(pcm) if agent.audio_format is AudioFormat.PCMU else pcm


def _check_replies(events: Iterable[AgentEvent], agent: Agent) -> None:
    sample_bytes = 1 if agent.audio_format is AudioFormat.PCMU else 2
    is_replying = False
    for event in events:
        match event:
            case Reply(text):
                assert text, "a reply has a text"
                is_replying = True
            case ReplyAudio(pcm):
                assert is_replying, "ReplyAudio comes between Reply and ReplyEnded"
                assert len(pcm) % sample_bytes == 0, "audio comes in whole samples"
            case ReplyEnded():
                assert is_replying, "ReplyEnded comes after Reply"
                is_replying = False
            case UserStartedSpeaking():
                is_replying = False
            case _:
                pass
    assert not is_replying, "the last reply has no ReplyEnded"


def _kinds(events: Iterable[AgentEvent]) -> str:
    return ", ".join(type(event).__name__ for event in events) or "none"
