"""The parts of a cascade, as interfaces.

What is brought fits one of them by its methods alone; nothing need be inherited. Voice activity, end of turn and
recognition take PCM16 at the agent's `input_rate_hz`. Of speech synthesis there are two kinds: a local voice
(`voicelink.audio.speech.Speech`) runs in the cascade's thread, a `Synthesiser` on its event loop. The language model is
no part of a cascade: `voice_gateway.agent.call.llm`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from voice_gateway.errors import AgentError
from voicelink.audio.vad import VoiceActivity

OnWords = Callable[[tuple[str, ...] | AgentError, bool], None]
"""Takes an utterance's words so far and whether they are final; called only on change, and exactly once with `True`.

An error in place of the final words ends the call; no words are noise. On the event loop only.
"""

OnJudged = Callable[[bool], None]
"""Takes whether the caller has finished; on the event loop, at most once."""


class VoiceDetectors(Protocol):
    """A model of voice activity; each conversation has a detector of its own."""

    def detector(self) -> VoiceActivity:
        """Return a detector with a fresh memory."""


class Utterance(Protocol):
    """One turn being recognised."""

    def feed(self, pcm: bytes) -> None:
        """Take the next samples, PCM16 at the agent's `input_rate_hz`."""

    def end(self) -> None:
        """Ask for the final words."""

    def abandon(self) -> None:
        """Forget the utterance; `OnWords` is not called any more."""


class Recogniser(Protocol):
    """Speech to text, streaming. No method may block."""

    async def open(self) -> None:
        """Load the models; raises `GatewayError`."""

    def begin(self, on_words: OnWords) -> Utterance:
        """Start an utterance; `on_words` may be called from within its methods."""

    async def close(self) -> None:
        """Release the models."""


class EndOfTurn(Protocol):
    """Tells a pause for thought from the end of a turn. No method may block.

    Asked once a pause. Until it has answered, and where it never does, the pause's length alone ends the turn.
    """

    async def open(self) -> None:
        """Load the model; one that is missing is logged, and then `judge` never answers."""

    def judge(self, pcm: bytes, on_judged: OnJudged) -> None:
        """Take the last 8 s of the turn, PCM16 at 16 kHz, with the beginning of the pause."""

    async def close(self) -> None:
        """Release the model."""


class Synthesiser(Protocol):
    """Text to speech of a service, streaming."""

    async def open(self) -> None:
        """Make ready; raises `GatewayError`."""

    def synthesize(self, text: str) -> AsyncGenerator[bytes, None]:
        """Yield PCM16 at the agent's `output_rate_hz` as it comes, in whole samples; raises `AgentError`."""

    async def close(self) -> None:
        """Release connections."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What follows from an utterance: what to say, and the new state, `None` where it did not change."""

    text: str
    state: Mapping[str, Any] | None = None


OnAnswer = Callable[[Answer | None], None]
"""Takes the answer to an utterance, or `None` for noise: then it is neither written down nor answered."""


class DialoguePolicy:
    """Decides what to say. One is made for each conversation, from its saved state where there is one."""

    def greeting(self) -> str:
        """Return how to open the conversation; empty for an agent that waits. Default: empty."""
        return ""

    def greeting_again(self) -> str:
        """Return what to say to a user who was cut off, and whose last words may be lost. Default: `greeting`."""
        return self.greeting()

    def is_finished(self, words: tuple[str, ...]) -> bool | None:
        """Whether the words so far are a whole sentence; if not, a longer pause is waited for. Default: no opinion."""
        return None

    def answer(self, words: tuple[str, ...], on_answer: OnAnswer) -> None:
        """Answer an utterance: call `on_answer` once, at once or later on the event loop.

        Asked for one utterance at a time, in the order in which they were spoken. What it raises ends the session.
        """
        raise NotImplementedError
