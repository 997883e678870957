"""A transport that remembers, and an agent whose every word the test chooses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from voice_gateway.agent.base import Agent, AgentEvent, Conversation, Finished, UserAudio
from voice_gateway.transport.base import SessionRequest
from voicelink.wire import VOICE_PATH, AudioFrame, CloseCode, ServerMessage

REQUEST = SessionRequest(VOICE_PATH, "192.0.2.1:5000", None)


class FakeTransport:
    kind = "fake"
    datagrams = 0
    datagram_uplink = None
    connection_id = None

    def __init__(self) -> None:
        self.messages: list[ServerMessage] = []
        self.audio: list[tuple[int, AudioFrame]] = []
        self.ended: list[int] = []
        self.reset: list[int] = []
        self.closed: list[tuple[CloseCode, str]] = []

    def send(self, message: ServerMessage) -> None:
        self.messages.append(message)

    def send_audio(self, utterance_id: int, frames: Sequence[AudioFrame]) -> None:
        self.audio += ((utterance_id, frame) for frame in frames)

    def end_audio(self, utterance_id: int) -> None:
        self.ended.append(utterance_id)

    def reset_audio(self, utterance_id: int) -> None:
        self.reset.append(utterance_id)

    def close(self, code: CloseCode, reason: str) -> None:
        self.closed.append((code, reason))

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]


class FakeConversation(Conversation):
    def __init__(self, emit: Callable[[AgentEvent], None]) -> None:
        super().__init__(emit)
        self.calls: list[object] = []
        self.on_hear: Callable[[UserAudio], None] = lambda audio: None

    def greet(self) -> None:
        self.calls.append("greet")

    def hear(self, audio: UserAudio) -> None:
        self.calls.append(audio)
        self.on_hear(audio)

    def interrupted(self, played_ms: int) -> None:
        self.calls.append(("interrupted", played_ms))

    def say_again(self, text: str) -> None:
        self.calls.append(("say again", text))

    def finish(self) -> None:
        self.calls.append("finish")
        self.emit(Finished())

    def close(self) -> None:
        self.calls.append("close")


class FakeAgent(Agent):
    name = "fake"
    input_rate_hz = 16_000
    output_rate_hz = 24_000

    def __init__(self) -> None:
        self.conversations: list[FakeConversation] = []
        self.is_open = False

    async def open(self) -> None:
        self.is_open = True

    def converse(self, emit: Callable[[AgentEvent], None], state: Mapping[str, Any] | None) -> FakeConversation:
        self.conversations.append(FakeConversation(emit))
        return self.conversations[-1]

    async def close(self) -> None:
        self.is_open = False


async def run_ready() -> None:
    """Let the event loop run what is ready, and what becomes ready by it."""
    for _ in range(50):
        await asyncio.sleep(0)
