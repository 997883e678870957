"""Calls whose sound and words are yet to be deleted, kept beside the recordings until they are.

A storage that is away when consent is withdrawn may still be away when the worker ends: any worker with the same folder
then goes on. Each call is an empty file, `.withdrawn/SESSION`, in the folder.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from voice_gateway.recording.segments.format import is_call_name

_FOLDER: Final = ".withdrawn"


class Withdrawals:
    """The calls that wait. Where the folder cannot be written to they are known to this process alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _FOLDER
        self._calls: dict[str, None] = {}

    def add(self, session_id: str) -> None:
        """Keep a call until it was carried out; blocks for the disk."""
        self._calls[session_id] = None
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self._folder / session_id).touch(mode=0o600)

    def carry_out(self, delete: Callable[[str], None]) -> None:
        """Delete what there is of each call, those of other workers included; what `delete` raises ends it for now."""
        for session_id in dict.fromkeys((*self._calls, *self._kept())):
            delete(session_id)
            self._calls.pop(session_id, None)
            with suppress(OSError):
                (self._folder / session_id).unlink(missing_ok=True)

    def _kept(self) -> list[str]:
        with suppress(OSError):
            return sorted(each.name for each in self._folder.iterdir() if is_call_name(each.name))
        return []
