"""An agent's state as an indented list, with the lines marked that the last change touched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Final

from rich.text import Text

_INDENT: Final = "  "
_STYLES: Final[Mapping[str, str]] = {" ": "", "+": "bold green", "~": "bold yellow"}


def state_list(state: Mapping[str, object], before: Mapping[str, object] | None = None) -> Text:
    """Return a line for each value of nested maps and lists: `+` is new since `before`, `~` has changed.

    Lines that are gone are not shown. Without `before`, none is marked.
    """
    lines = list(_of_map(state))
    former = lines if before is None else list(_of_map(before))
    shown = Text()
    for kind, old_start, old_end, start, end in SequenceMatcher(None, former, lines, autojunk=False).get_opcodes():
        for place, line in enumerate(lines[start:end]):
            mark = " " if kind == "equal" else "~" if place < old_end - old_start else "+"
            shown.append(f"{mark} {line}\n", _STYLES[mark])
    shown.rstrip()
    return shown


def _of_map(entries: Mapping[str, object]) -> Iterator[str]:
    for key, value in entries.items():
        yield from _entry(f"{_scalar(str(key))}:", value)


def _entry(head: str, value: object) -> Iterator[str]:
    """A scalar stands behind its head, a map or list below it."""
    below = list(_below(value))
    if below:
        yield head
        yield from (_INDENT + line for line in below)
    else:
        yield f"{head} {_scalar(value)}"


def _below(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from _of_map(value)
    elif isinstance(value, list | tuple):
        for each in value:
            first, *others = list(_below(each)) or [_scalar(each)]
            yield f"- {first}"
            yield from (_INDENT + line for line in others)


def _scalar(value: object) -> str:
    """Text as it is, unless it holds characters that a terminal could act on; all else as in JSON."""
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value, default=str)
