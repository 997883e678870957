"""The closing handshake of one connection: the caller's `bye`, and how far the agent has answered it. Sans-IO."""

from __future__ import annotations

import math


class ClosingHandshake:
    """One per connection: after a resume the caller says `bye` again, and what is said again is played first.

    Only an agent that emits nothing for `timeout_s` has failed; a slow one has not.
    """

    __slots__ = ("_timeout_s", "deadline", "frames", "is_agent_finished", "is_finish_sent")

    def __init__(self, timeout_s: float) -> None:
        self.frames: int | None = None
        """How many uplink frames the caller sends in all; `None` before its `bye`."""
        self.is_finish_sent = False
        """Whether the agent knows that no more audio follows."""
        self.is_agent_finished = False
        self.deadline = math.inf
        """When the agent has been silent for too long."""
        self._timeout_s = timeout_s

    def said(self, frames: int, now: float) -> None:
        """The caller said `bye`."""
        self.frames = frames
        self.deadline = now + self._timeout_s

    def progressed(self, now: float) -> None:
        """The agent made something of what it heard."""
        if self.frames is not None:
            self.deadline = now + self._timeout_s

    def is_past(self, sequence: int) -> bool:
        """Whether an uplink frame of this number breaks the promise."""
        return self.frames is not None and sequence >= self.frames
