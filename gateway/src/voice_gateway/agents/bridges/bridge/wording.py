"""What a model is asked for in words, where its vendor's protocol has no request of its own for it."""

from __future__ import annotations

from typing import Final

GO_ON: Final = "Please go on."
"""Instead of the caller's last words, where there are none to answer."""
SAY_EXACTLY: Final = "Say exactly the following text, word for word, in its own language, and nothing else:\n\n"
"""Stands before a text that is to be said word for word."""
