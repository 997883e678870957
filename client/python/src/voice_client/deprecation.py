"""Former names of attributes and options: they still work, and warn."""

from __future__ import annotations

import warnings
from typing import Generic, Self, TypeVar, overload

_V = TypeVar("_V")


def warn_renamed(old: str, new: str, *, stacklevel: int) -> None:
    """Warn that `old` is deprecated; `stacklevel` 1 is the caller of this function."""
    warnings.warn(f"{old} is deprecated: use {new}", DeprecationWarning, stacklevel=stacklevel + 1)


class Renamed(Generic[_V]):
    """A former attribute name: reading it returns the attribute `new`, with a `DeprecationWarning`.

    class Speech:
        utterance_id: int
        former_name = Renamed[int]("utterance_id")
    """

    def __init__(self, new: str) -> None:
        self._new = new
        self._old = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._old = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> _V: ...

    def __get__(self, instance: object | None, owner: type) -> Self | _V:
        if instance is None:
            return self
        warn_renamed(self._old, self._new, stacklevel=2)
        value: _V = getattr(instance, self._new)
        return value
