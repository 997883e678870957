"""Finds what answers a path: whole paths, and templates whose parts in braces take any one part of a path. Sans-IO."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import unquote

H = TypeVar("H")


@dataclass(frozen=True, slots=True)
class Found(Generic[H]):
    """The handlers of a path by method, and the parts of the path that its template names, decoded."""

    handlers: Mapping[str, H]
    parameters: Mapping[str, str]


class PathTable(Generic[H]):
    """Handlers by method and path. A path without braces comes before a template; of templates the first one added.

    Raises `ValueError` where two handlers have one method and path.
    """

    def __init__(self, handlers: Iterable[tuple[str, str, H]]) -> None:
        self._plain: dict[str, dict[str, H]] = {}
        self._templates: dict[str, tuple[re.Pattern[str], dict[str, H]]] = {}
        for method, path, handler in handlers:
            if "{" in path:
                of_path = self._templates.setdefault(path, (_pattern(path), {}))[1]
            else:
                of_path = self._plain.setdefault(path, {})
            if method in of_path:
                raise ValueError(f"two handlers for {method} {path}")
            of_path[method] = handler

    def find(self, path: str) -> Found[H] | None:
        """Return what answers the path; `None` where nothing does."""
        if path in self._plain:
            return Found(self._plain[path], {})
        for pattern, handlers in self._templates.values():
            match = pattern.fullmatch(path)
            if match is not None:
                return Found(handlers, {name: unquote(part) for name, part in match.groupdict().items()})
        return None


def _pattern(template: str) -> re.Pattern[str]:
    pieces = _PARAMETER.split(template)  # text and names by turns
    return re.compile(
        "".join(f"(?P<{piece}>[^/]+)" if number % 2 else re.escape(piece) for number, piece in enumerate(pieces))
    )


_PARAMETER: Final = re.compile(r"\{(\w+)\}")
