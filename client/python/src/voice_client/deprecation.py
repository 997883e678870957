"""Warns of attributes under their former names."""

from __future__ import annotations

import warnings
from typing import TypeVar

_V = TypeVar("_V")


def former(old: str, new: str, value: _V) -> _V:
    """Return the value of an attribute that was read under its former name, with a `DeprecationWarning`."""
    warnings.warn(f"{old} is deprecated: use {new}", DeprecationWarning, stacklevel=3)
    return value
