"""What of a pipeline is saved with its session: the messages of its context, and where the answer stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from voice_gateway.agent.call.progress.tools import plain

_UNFINISHED: Final = "IN_PROGRESS"


@dataclass(frozen=True, slots=True)
class Saved:
    """`is_pending`: the answer to the last turn was not made whole; the pipeline has to answer that turn again.

    `answer` is one that was made whole, and that the context does not hold yet, because it was not played to its end.
    """

    messages: tuple[Mapping[str, Any], ...] = ()
    is_pending: bool = False
    answer: str = ""

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Saved:
        """Read what `to_state` gave; of an empty map, what a new call begins with."""
        messages = tuple(repaired(state.get("messages", ())))
        return cls(messages, bool(state.get("is_pending")), str(state.get("answer", "")))

    def to_state(self) -> dict[str, Any]:
        """Return plain maps."""
        return {"messages": list(self.messages), "is_pending": self.is_pending, "answer": self.answer}


def plain_messages(messages: Iterable[object]) -> tuple[Mapping[str, Any], ...]:
    """Return copies of the messages that can be saved: those of one vendor's own kind are left out."""
    return tuple(plain(message) for message in messages if isinstance(message, dict))


def repaired(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out the calls of tools that never ended: no result will come for them, and models refuse such a context."""
    unfinished = {each.get("tool_call_id") for each in messages if _is_unfinished(each)}
    kept = []
    for message in messages:
        if _is_unfinished(message):
            continue
        calls = message.get("tool_calls")
        if calls:
            left = [each for each in calls if each.get("id") not in unfinished]
            if not left and not message.get("content"):
                continue
            if len(left) < len(calls):
                message = {**message, "tool_calls": left} if left else _without_calls(message)
        kept.append(message)
    return kept


def _is_unfinished(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "tool" and message.get("content") == _UNFINISHED


def _without_calls(message: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in message.items() if key != "tool_calls"}
