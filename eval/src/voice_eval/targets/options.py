"""Options of the command and of the pytest plugin, as values; mistakes raise `EvalError` with the option's name."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from voice_eval.errors import EvalError


def listed(text: str) -> list[str]:
    """Names with commas between them."""
    return [each.strip() for each in text.split(",") if each.strip()]


def pairs(option: str, given: Iterable[str]) -> dict[str, str]:
    """KEY=VALUE, several times."""
    found = {}
    for each in given:
        key, is_there, value = each.partition("=")
        if not is_there:
            raise EvalError(f"{option} {each!r}: give KEY=VALUE")
        found[key] = value
    return found


def settings(option: str, given: Iterable[str]) -> dict[str, Any]:
    """KEY=VALUE, where a value that is JSON is what that means."""
    return {key: _json(value) for key, value in pairs(option, given).items()}


def token(option: str, file: Path | None) -> str | None:
    """The secret in a file."""
    if file is None:
        return None
    try:
        return file.read_text().strip()
    except OSError as error:
        raise EvalError(f"{option} {file}: {(error.strerror or str(error)).lower()}") from None


def faults(text: str) -> list[str | None]:
    """What to kill, with commas; `None` for `none`."""
    return [None if each == "none" else each for each in listed(text)]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
