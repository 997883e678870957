"""The closing handshake of one connection: the caller's `bye`, the rest of the answers, the worker's `bye`. Sans-IO.

open ──bye──► receiving ──all frames──► answering ──agent finished──► playing ──saved and played──► done
"""

from __future__ import annotations

import math
from enum import Enum, auto


class ClosingState(Enum):
    """How far the handshake has come."""

    OPEN = auto()
    """The caller has not said `bye`."""
    RECEIVING = auto()
    """Frames that the caller's `bye` counts are still to come."""
    ANSWERING = auto()
    """The agent knows that no more audio follows, and has not finished."""
    PLAYING = auto()
    """The agent has finished; its last answer is still being played or saved."""
    DONE = auto()
    """Nothing is left to wait for."""


_AGENT_FINISHED = (ClosingState.PLAYING, ClosingState.DONE)


class ClosingStep(Enum):
    """What the session does next for the handshake."""

    WAIT = auto()
    FINISH_AGENT = auto()
    """Tell the agent that no more audio follows."""
    SAY_BYE = auto()
    """Answer the caller's `bye` and close."""


class ClosingHandshake:
    """Owns the state of the handshake: each method is an event, and moves it.

    One per connection: after a resume the caller says `bye` again, and what is said again is played first.
    Only an agent that emits nothing for `timeout_s` has failed; a slow one has not.
    """

    __slots__ = ("_deadline", "_frames", "_state", "_timeout_s")

    def __init__(self, timeout_s: float) -> None:
        self._state = ClosingState.OPEN
        self._frames: int | None = None
        self._deadline = math.inf
        self._timeout_s = timeout_s

    @property
    def state(self) -> ClosingState:
        return self._state

    @property
    def frames(self) -> int | None:
        """How many uplink frames the caller sends in all; `None` before its `bye`."""
        return self._frames

    @property
    def deadline(self) -> float:
        """When the agent has emitted nothing for too long; infinite before the caller's `bye`."""
        return self._deadline

    @property
    def is_agent_finished(self) -> bool:
        """Whether nothing more is expected of the agent."""
        return self._state in _AGENT_FINISHED

    def is_past_end(self, sequence: int) -> bool:
        """Whether the caller's `bye` does not count an uplink frame of this number."""
        return self._frames is not None and sequence >= self._frames

    def bye_received(self, frames: int, received: int, now: float) -> ClosingStep:
        """The caller said `bye` after `frames` uplink frames, of which the first `received` have arrived."""
        self._state = ClosingState.RECEIVING
        self._frames = frames
        self._deadline = now + self._timeout_s
        return self.frame_received(received)

    def frame_received(self, received: int) -> ClosingStep:
        """`received` uplink frames have arrived."""
        if self._state is not ClosingState.RECEIVING or received != self._frames:
            return ClosingStep.WAIT
        self._state = ClosingState.ANSWERING
        return ClosingStep.FINISH_AGENT

    def agent_emitted(self, now: float) -> None:
        """The agent has emitted an event: it works."""
        if self._frames is not None:
            self._deadline = now + self._timeout_s

    def agent_finished(self) -> bool:
        """The agent says that it has finished; return whether that ends its part, which it does once it was asked."""
        if self._state is not ClosingState.ANSWERING:
            return False
        self._state = ClosingState.PLAYING
        return True

    def answers_progressed(self, *, is_saved: bool, is_played: bool) -> ClosingStep:
        """What the agent made of the audio was saved, or played, as far as these say."""
        if self._state is not ClosingState.PLAYING or not (is_saved and is_played):
            return ClosingStep.WAIT
        self._state = ClosingState.DONE
        return ClosingStep.SAY_BYE
