"""Debug logs of state changes, below the logger `voice_client`: `event key=value ...`.

Audio, transcripts, agents' states and tokens are never logged.
"""

from __future__ import annotations

import logging


def log_change(log: logging.Logger, event: str, **values: object) -> None:
    """Log a state change; the line is built only where DEBUG is on. Texts with spaces or control codes are quoted."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug("%s", " ".join((event, *(f"{name}={_shown(value)}" for name, value in values.items()))))


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return f"{value:.1f}"
    text = str(value)
    return text if text.isprintable() and text and " " not in text else repr(text)
