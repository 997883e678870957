"""Audio that waits to be encoded."""

from __future__ import annotations

from typing import cast

from voice_gateway.session.core.speech.pending_audio import PendingAudio


def test_audio_comes_out_in_order_whatever_its_pieces_were() -> None:
    pending = PendingAudio()
    for piece in (b"abc", b"", b"d", b"efgh"):
        pending.append(piece)
    assert len(pending) == 8
    assert [pending.take(2), pending.take(3), pending.take(9), pending.take(1)] == [b"ab", b"cde", b"fgh", b""]
    assert len(pending) == 0


def test_a_piece_taken_whole_is_the_agents_own() -> None:
    """A second of audio is 96 kB at 48 kHz, of which a session needs one copy."""
    pending, piece = PendingAudio(), bytes(96_000)
    pending.append(piece)
    assert pending.take(len(piece)) is piece


def test_audio_that_the_agent_changes_later_was_copied() -> None:
    pending, buffer = PendingAudio(), bytearray(b"before")
    pending.append(cast(bytes, buffer))  # as agents do that have no types
    buffer[:] = b"behind"
    assert pending.take(6) == b"before"
