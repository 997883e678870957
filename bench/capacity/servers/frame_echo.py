"""The agent of a worker without codec and without agent: every Opus packet goes back as it came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voice_gateway.agent.base import (
    Agent,
    AudioFormat,
    Conversation,
    Emit,
    Finished,
    NoSpeechUpTo,
    Reply,
    ReplyAudio,
    ReplyEnded,
    UserAudio,
)

ACK_FRAMES = 10
"""Frames are acknowledged in tens, as those of an utterance are together."""


class FrameEcho(Agent):
    """Echoes at once what it gets, as one reply that lasts as long as the session."""

    name = "frame-echo"
    audio_format = AudioFormat.OPUS

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        return FrameEchoConversation(emit)


class FrameEchoConversation(Conversation):
    """One caller's echo."""

    def greet(self) -> None:
        """Begin the reply."""
        self.emit(Reply("echo"))

    def hear(self, audio: UserAudio) -> None:
        """Send it back."""
        self.emit(ReplyAudio(audio.pcm))
        if audio.sequence % ACK_FRAMES == 0:
            self.emit(NoSpeechUpTo(audio.sequence))

    def finish(self) -> None:
        """End the reply."""
        self.emit(ReplyEnded())
        self.emit(Finished())
