"""The loudspeaker of drivers whose server sends sound at its own pace."""

from __future__ import annotations

from voice_eval.call.loudspeaker import Loudspeaker

FRAME = b"\x01\x00" * 160


def pulled(loudspeaker: Loudspeaker, frames: int) -> list[int]:
    return [len(loudspeaker.pull(0.02)) for _ in range(frames)]


def test_it_plays_after_60_ms_are_there_and_runs_dry() -> None:
    loudspeaker = Loudspeaker(8_000)
    loudspeaker.push(FRAME * 2)
    assert pulled(loudspeaker, 1) == [0]
    loudspeaker.push(FRAME)
    assert pulled(loudspeaker, 4) == [320, 320, 320, 0]


def test_what_is_shorter_than_the_buffer_is_played_after_having_waited() -> None:
    loudspeaker = Loudspeaker(8_000)
    loudspeaker.push(FRAME)
    assert pulled(loudspeaker, 5) == [0, 0, 320, 0, 0]


def test_clear_drops_what_was_not_played() -> None:
    loudspeaker = Loudspeaker(8_000)
    loudspeaker.push(FRAME * 5)
    assert pulled(loudspeaker, 1) == [320]
    loudspeaker.clear()
    assert pulled(loudspeaker, 1) == [0]
