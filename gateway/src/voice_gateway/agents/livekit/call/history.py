"""LiveKit's chat context, as it is saved and as another worker takes it up."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from livekit.agents import ChatContext
from livekit.agents.llm import ChatItem, ChatMessage

from voice_gateway.store.base import Line


def to_saved(context: ChatContext) -> dict[str, Any]:
    """Return plain maps. Times are kept, because LiveKit orders items by them."""
    return context.to_dict(exclude_timestamp=False, exclude_metrics=True, exclude_config_update=True)


def from_saved(saved: Mapping[str, Any] | None) -> ChatContext:
    """Restore what `to_saved` returned; no item is newer than now, though another machine's clock may be ahead."""
    if not saved:
        return ChatContext.empty()
    context = ChatContext.from_dict(dict(saved))
    ahead = max((each.created_at for each in context.items), default=0.0) - time.time()
    if ahead > 0:
        for each in context.items:
            each.created_at -= ahead
    return context


@dataclass(frozen=True, slots=True)
class Continuation:
    """What is left to do of a call: say `again` exactly, say `rest`, or have the model answer.

    Where the model `answers`, `said` is what the caller heard of its answer before.
    """

    again: str = ""
    rest: str = ""
    answers: bool = False
    said: str = ""


def continue_from(
    context: ChatContext, lines: Sequence[Line], again: str, answer: str | None, *, is_pending: bool
) -> Continuation:
    """Bring the context into line with what the caller heard, and return what is left to do.

    `lines` is the transcript, `again` the end of it that was not played, `answer` the whole text of the last answer
    where the model had given all of it. The context then ends with what was heard, or where the model answers, with
    what it answers.
    """
    spoken = " ".join(line.text for line in _after_user(lines))
    if is_pending and answer is None:
        kept = _answered_up_to(context)
        del context.items[kept:]
        return Continuation(again=again, answers=True, said=_without(_agent_text(context), spoken))
    known = _agent_text(context)
    heard = _without(known, spoken.removesuffix(again) if again else spoken)
    if heard and (not known or heard != normal(spoken)):
        context.add_message(role="assistant", content=heard)
    before = known if answer is None else known.removesuffix(normal(answer)).strip()  # words before a tool's call
    rest = "" if answer is None else _without(_without(before, spoken), answer)
    return Continuation(again=again, rest="" if not is_pending else rest)


def _after_user(lines: Sequence[Line]) -> list[Line]:
    newest: list[Line] = []
    for line in reversed(lines):
        if line.role == "user":
            break
        newest.append(line)
    return newest[::-1]


def _answered_up_to(context: ChatContext) -> int:
    """Return how many items there are up to what the model has to answer: a message of the user, or tools' results."""
    for index in range(len(context.items), 0, -1):
        item = context.items[index - 1]
        if item.type == "function_call_output" or _is_user(item):
            return index
    return len(context.items)


def _agent_text(context: ChatContext) -> str:
    """What the agent said since the user's last message."""
    texts: list[str] = []
    for item in reversed(context.items):
        if _is_user(item):
            break
        if item.type == "message" and item.role == "assistant":
            texts.append(cast(ChatMessage, item).text_content or "")
    return normal(" ".join(reversed(texts)))


def _is_user(item: ChatItem) -> bool:
    return item.type == "message" and item.role == "user"


def _without(beginning: str, text: str) -> str:
    """Return what of `text` follows `beginning`; all of it where it does not begin so."""
    text, beginning = normal(text), normal(beginning)
    if beginning.startswith(text):
        return ""
    return text[len(beginning) :].strip() if text.startswith(beginning) else text


def normal(text: str) -> str:
    """Return the text with single spaces."""
    return " ".join(text.split())
