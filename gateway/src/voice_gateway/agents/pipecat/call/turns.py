"""The caller's turns: which of the audio they used, and whether their answers were made, heard or cut off."""

from __future__ import annotations

from typing import Any

from voice_gateway.agent.base import (
    Emit,
    FinalTranscript,
    NoSpeechUpTo,
    UserStartedSpeaking,
    UserStoppedSpeaking,
    UserText,
)
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.pipecat.call.progress import PipelineProgress


class PipelineTurns:
    """A turn is pending from its words until its answer was made whole, or cut off; both are saved."""

    def __init__(self, emit: Emit, progress: PipelineProgress, changes: Changes) -> None:
        self._emit = emit
        self._progress = progress
        self._changes = changes
        self._through = -1
        self._announced: list[str] = []

    def started_speaking(self) -> None:
        """The caller interrupts, or begins a turn."""
        self._emit(UserStartedSpeaking(max(self._through + 1, 0)))

    def stopped_speaking(self, sequence: int) -> None:
        """The turn has no further audio; -1 where it had none."""
        if sequence >= 0:
            self._emit(UserStoppedSpeaking(sequence))

    def understood(self, text: str, through_sequence: int) -> None:
        """A spoken turn is complete, and its words are in the context."""
        self._begin(text, through_sequence)

    def typed(self, text: UserText) -> None:
        """A typed turn is complete; the pipeline gets it next."""
        self._begin(text.text, self._through, text.number, {"role": "user", "content": text.text})

    def silent(self, through_sequence: int) -> None:
        """There was no speech up to this frame that has no words yet."""
        self._through = max(self._through, through_sequence)
        self._emit(NoSpeechUpTo(through_sequence))

    def announced(self, text: str) -> None:
        """This is to be said next."""
        self._announced.append(text)

    def answer_made(self) -> None:
        """What was announced is the whole answer."""
        if self._announced:
            text = " ".join(self._announced)
            self._announced.clear()
            self._progress.answer_made(text)

    def answer_in_context(self) -> None:
        """The context holds what was heard of the answer."""
        if not self._progress.is_pending:
            self._progress.answered()

    def answer_cut(self) -> None:
        """The user, or the pipeline itself, cut the answer off, or what was to lead to one."""
        self._announced.clear()
        if self._progress.is_pending or self._progress.has_answer:
            self._progress.answered()

    def _begin(
        self, text: str, through_sequence: int, number: int | None = None, message: dict[str, Any] | None = None
    ) -> None:
        self._through = max(self._through, through_sequence)
        self._announced.clear()
        private = self._progress.begin_turn(message)
        # the state goes with the answer: the turn changes it, and is repeated where that is not saved
        self._emit(FinalTranscript(text, self._through, private_state=private, through_message=number))
        self._changes.notify()
