"""The caller's turns, as they are saved."""

from __future__ import annotations

from voice_gateway.agent.base import SessionView
from voice_gateway.agent.call.progress.progress import Progress
from voice_gateway.agent.call.progress.steps import Steps
from voice_gateway.agents.bridges.bridge.call.hearing.uplink_audio import UplinkAudio


class BridgeTurns:
    """A turn is pending, and saved with its words as such, until the vendor's answer to it is whole."""

    def __init__(self, progress: Progress, audio: UplinkAudio) -> None:
        self.is_pending = False
        self._progress = progress
        self._audio = audio

    @property
    def steps(self) -> Steps:
        """The tools' calls of the turn."""
        return self._progress.steps

    def restore(self, session: SessionView) -> None:
        """Go on from what was saved; turns without an answer are pending again."""
        self._progress.restore(session)
        while self._progress.has_pending:
            self._progress.end_turn()
            self._progress.take_turn()
            self.is_pending = True

    def begin(
        self,
        text: str,
        through_sequence: int,
        *,
        is_digit: bool = False,
        is_text: bool = False,
        through_message: int | None = None,
    ) -> None:
        """A turn is complete: save its words, and release its audio."""
        self._progress.end_turn()
        self._audio.release(through_sequence)
        self._progress.understood(
            text, self._audio.released, is_digit=is_digit, is_text=is_text, through_message=through_message
        )
        self._progress.take_turn()
        self.is_pending = True

    def session_lost(self) -> None:
        """The next session answers from the beginning; tools that have returned are not called again."""
        if self.is_pending:
            self.steps.begin(self.steps.turn)

    def answered(self) -> None:
        """The answer is whole, and saved as such."""
        self.is_pending = False
        self._progress.commit()

    def dropped(self) -> None:
        """The caller did not want the answer: no other session need give it."""
        self.is_pending = False
