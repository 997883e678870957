"""Debug logs of state changes."""

from __future__ import annotations

import logging

import pytest

from voice_client.state_log import log_change

LOG = logging.getLogger("voice_client.test")


def test_values_are_logged_as_bare_numbers_hex_or_quoted_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "voice_client")
    log_change(LOG, "call_moved", odcid=b"\x01\xab", gap_ms=12.34, frames=5, worker="w-1", reason="no answer")
    assert caplog.messages == ["call_moved odcid=01ab gap_ms=12.3 frames=5 worker=w-1 reason='no answer'"]


@pytest.mark.parametrize("text", ["a\nb", "a\x1b[2J", ""])
def test_a_peer_s_text_cannot_forge_a_line(text: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "voice_client")
    log_change(LOG, "call_ready", worker=text)
    assert caplog.messages == [f"call_ready worker={text!r}"]


def test_no_value_is_formatted_where_debug_is_off(caplog: pytest.LogCaptureFixture) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise AssertionError("it was formatted")

    caplog.set_level(logging.INFO, "voice_client")
    log_change(LOG, "call_ready", worker=Unprintable())
    assert not caplog.messages
