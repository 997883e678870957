"""What LiveKit says: each speech until it was played, and those that the model did not make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from livekit.agents import AgentSession
from livekit.agents.voice.events import SpeechCreatedEvent
from livekit.agents.voice.speech_handle import SpeechHandle

from voice_gateway.agents.livekit.audio_io.speech_output import SpeechOutput
from voice_gateway.agents.livekit.call.history import normal


class Speeches:
    """True while LiveKit says or prepares something; `on_done` follows the end of each speech."""

    def __init__(self, output: SpeechOutput, on_done: Callable[[], None]) -> None:
        self._output = output
        self._on_done = on_done
        self._open: set[SpeechHandle] = set()
        self._exact: SpeechHandle | None = None
        """The speech that `SpeechOutput.exactly` is for."""
        self._own_texts: list[str] = []
        """What is said for an earlier worker, or without the model: no part of an answer that is being made."""

    def __bool__(self) -> bool:
        return bool(self._open)

    @property
    def are_interrupted(self) -> bool:
        """Whether LiveKit has stopped all by itself."""
        return all(speech.interrupted for speech in self._open)

    def created(self, event: SpeechCreatedEvent) -> None:
        """LiveKit is to say something."""
        self._open.add(event.speech_handle)
        event.speech_handle.add_done_callback(self._done)

    def say(self, session: AgentSession[Any], text: str, *, keeps: bool = True) -> SpeechHandle:
        """Say a text that is not the model's; it `keeps` its place in the chat context."""
        self._own_texts.append(normal(text))
        return session.say(text, add_to_chat_ctx=keeps)

    def say_exactly(self, session: AgentSession[Any], text: str, *, keeps: bool) -> None:
        """Say it as one reply of exactly this text."""
        self._output.exactly = text
        self._exact = self.say(session, text, keeps=keeps)

    def take_own(self, text: str) -> bool:
        """Whether a text that is complete now is one of `say`; each counts once."""
        is_own = text in self._own_texts
        if is_own:
            self._own_texts.remove(text)
        return is_own

    def _done(self, speech: SpeechHandle) -> None:
        self._open.discard(speech)
        if speech is self._exact:  # it may have been cut off before a first frame
            self._exact = self._output.exactly = None
        self._on_done()
