"""Texts that a session was given, and that the vendor repeats as the caller's words. Sans-IO."""

from __future__ import annotations


class Echoes:
    """Tells such a text from words that were spoken; vendors may space it in another way."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    @property
    def is_waiting(self) -> bool:
        """Whether a text was not repeated yet."""
        return bool(self._texts)

    def sent(self, text: str) -> None:
        """The vendor was given this text."""
        self._texts.append(_spaced(text))

    def take(self, text: str) -> bool:
        """Forget a text that came back; return whether it is one."""
        is_echo = _spaced(text) in self._texts
        if is_echo:
            self._texts.remove(_spaced(text))
        return is_echo


def _spaced(text: str) -> str:
    return " ".join(text.split())
