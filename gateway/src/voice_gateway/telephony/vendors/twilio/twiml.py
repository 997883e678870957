"""The TwiML that joins a call to a stream (Twilio documentation, "TwiML Voice: <Stream>"), sans-IO."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final

EMPTY_RESPONSE: Final = '<?xml version="1.0" encoding="UTF-8"?>\n<Response/>\n'


def connect_stream(url: str, parameters: Mapping[str, str], action: str | None) -> str:
    """Return the document that connects the call both ways to the stream at `url`.

    Twilio allows no query in `url`; `parameters` come back in the stream's `start`. Twilio asks for `action` when the
    stream ended while the call goes on; without it, the call ends.
    """
    joined = "".join(
        f'<Parameter name="{escape(name)}" value="{escape(value)}"/>' for name, value in parameters.items()
    )
    then = "" if action is None else f' action="{escape(action)}" method="POST"'
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<Response><Connect{then}><Stream url="{escape(url)}">{joined}</Stream></Connect></Response>\n'
    )
