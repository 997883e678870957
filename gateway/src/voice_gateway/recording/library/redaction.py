"""The operator's own function that takes personal data out of words before they are written."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from msgspec.structs import replace

from voice_gateway.errors import ConfigurationError
from voice_gateway.recording.segments.format import Words
from voice_gateway.recording.segments.writer import Redact

RedactText = Callable[[str, str], str | None]
"""Takes a text and its kind (`transcript`, `typed`, `tool_call`, `tool_result`, `digit`, `transfer`), and returns what
may be kept of it, `None` for nothing."""
_NOT_WORDS: Final = frozenset({"turn", "role", "call_id", "name"})


def load_redaction(name: str) -> Redact:
    """Import `package.module:function`; raises `ConfigurationError`."""
    module_name, colon, function_name = name.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module_name.split("."), function_name)):
        raise ConfigurationError(f"recording.redact is package.module:function, got {name!r}")
    try:
        function = getattr(importlib.import_module(module_name), function_name, None)
    except Exception as error:
        raise ConfigurationError(
            f"recording.redact: the module {module_name} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not callable(function):
        raise ConfigurationError(f"recording.redact: the module {module_name} has no function {function_name}")
    return redaction(cast(RedactText, function))


def redaction(function: RedactText) -> Redact:
    """Return what applies `function` to every text in `Words`, in maps and lists too; one `None` drops the words."""

    def redact(words: Words) -> Words | None:
        facts: dict[str, Any] = {}
        for key, value in words.facts.items():
            facts[key] = value if key in _NOT_WORDS else _redacted(value, words.kind, function)
            if value is not None and facts[key] is None:
                return None
        return replace(words, facts=facts)

    return redact


def _redacted(value: Any, kind: str, function: RedactText) -> Any:
    if isinstance(value, str):
        return function(value, kind)
    if isinstance(value, Mapping):
        return {key: _redacted(each, kind, function) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(each, kind, function) for each in value]
    return value
