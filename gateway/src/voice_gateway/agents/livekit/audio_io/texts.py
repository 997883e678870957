"""LiveKit's text output: the text of the answers as the model gives it, by sentences."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from livekit.agents.voice.io import TextOutput

from voice_gateway.agents.livekit.call.history import normal

_SENTENCE: Final = re.compile(r".*?[.!?]+(?=\s)", re.DOTALL)


class Texts(TextOutput):
    """The text of the answers as the model gives it; `on_whole` gets each once it is complete."""

    def __init__(self, on_whole: Callable[[str], None]) -> None:
        super().__init__(label="voice-gateway", next_in_chain=None)
        self.whole = ""
        self.is_complete = False
        self._unused = ""
        self._on_whole = on_whole

    async def capture_text(self, text: str) -> None:
        """Take more of the answer."""
        if self.is_complete:
            self.whole, self._unused, self.is_complete = "", "", False
        self.whole += text
        self._unused += text

    def flush(self) -> None:
        """The answer is complete."""
        if not self.is_complete:
            self.is_complete = True
            self._on_whole(normal(self.whole))

    def sentence(self, *, is_wanted: bool) -> str:
        """Return the next sentence and forget it, or nothing; where it `is_wanted`, also one that is not complete."""
        match = _SENTENCE.match(self._unused)
        text = match[0] if match else self._unused if is_wanted or self.is_complete else ""
        self._unused = self._unused[len(text) :]
        return normal(text)

    def rest(self) -> str:
        """Return all that is left, and forget it."""
        text, self._unused = self._unused, ""
        return normal(text)
