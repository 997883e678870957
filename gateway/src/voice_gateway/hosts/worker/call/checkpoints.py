"""The numbers of a call's checkpoints, which each host counts anew. Sans-IO."""

from __future__ import annotations

from dataclasses import replace

from voice_gateway.agent.base import AgentEvent, StateChanged


class HostCheckpoints:
    """Gives each checkpoint a number that no host before has used, and its own back once it is saved."""

    def __init__(self) -> None:
        self._outstanding: dict[int, tuple[int, int]] = {}
        self._next = 1

    def numbered(self, event: AgentEvent, attempt: int) -> AgentEvent:
        """Return what the session gets for an event of the host that this attempt opened the call at."""
        if not isinstance(event, StateChanged) or event.checkpoint is None:
            return event
        number, self._next = self._next, self._next + 1
        self._outstanding[number] = (attempt, event.checkpoint)
        return replace(event, checkpoint=number)

    def saved(self, number: int, attempt: int) -> int | None:
        """Return the number that the present host knows the checkpoint by; `None` for one of a host before it."""
        of_attempt, own = self._outstanding.pop(number, (-1, 0))
        return own if of_attempt == attempt else None
