"""The echo agent."""

from __future__ import annotations

from tests.unit.voicelink.audio.signals import tone
from voice_gateway.agent.base import (
    AgentEvent,
    FinalTranscript,
    Finished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    UserAudio,
    UserStartedSpeaking,
    UserStoppedSpeaking,
)
from voice_gateway.agents.echo import EchoAgent, PcmuEchoAgent
from voicelink.audio.codecs.g711 import pcmu_encode


def hear(
    pcm: bytes, state: dict[str, int] | None = None, agent: EchoAgent | None = None, frame_bytes: int = 640
) -> list[AgentEvent]:
    events: list[AgentEvent] = []
    conversation = (agent or EchoAgent()).converse(events.append, state)
    conversation.greet()
    for sequence, at in enumerate(range(0, len(pcm), frame_bytes)):
        conversation.hear(UserAudio(sequence, pcm[at : at + frame_bytes]))
    conversation.finish()
    conversation.close()
    conversation.finish()
    return events


def test_an_utterance_comes_back_with_its_beginning() -> None:
    word = tone(300, 16_000, 0.5, 6_000)
    events = hear(bytes(16_000) + word + bytes(32_000))
    kinds = [type(event) for event in events if type(event).__name__ != "NoSpeechUpTo"]
    assert kinds == [UserStartedSpeaking, UserStoppedSpeaking, FinalTranscript, Reply, ReplyAudio, ReplyEnded, Finished]
    assert word in next(event.pcm for event in events if isinstance(event, ReplyAudio))


def test_finish_answers_what_is_pending() -> None:
    events = hear(bytes(16_000) + tone(300, 16_000, 0.5, 6_000), {"utterances": 4})
    assert next(event for event in events if isinstance(event, FinalTranscript)).state == {
        "kind": "echo",
        "utterances": 5,
    }
    assert isinstance(events[-1], Finished)


def test_silence_is_not_answered() -> None:
    assert not any(isinstance(event, Reply) for event in hear(bytes(64_000)))


def test_a_telephone_gets_its_own_bytes_back() -> None:
    word = pcmu_encode(tone(300, 8_000, 0.5, 6_000))
    events = hear(b"\x7f" * 4_000 + word + b"\x7f" * 8_000, agent=PcmuEchoAgent(), frame_bytes=160)
    (reply,) = (event.pcm for event in events if isinstance(event, ReplyAudio))
    assert word in reply
    assert reply.startswith(b"\x7f"), "the silence before it came with the utterance, too"
