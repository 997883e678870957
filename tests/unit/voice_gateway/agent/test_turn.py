"""Turn taking: the table, and the frames each turn covers."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest

from voice_gateway.agent.base import UserAudio
from voice_gateway.agent.turn import (
    TRANSITIONS,
    Action,
    NothingPending,
    Phase,
    Signal,
    TurnContinued,
    TurnEnded,
    TurnEvent,
    TurnStarted,
    TurnTaker,
    TurnTiming,
)

TIMING = TurnTiming(
    onset_ms=60,
    preroll_ms=100,
    patience_ms=200,
    unfinished_patience_ms=400,
    finished_patience_ms=100,
    silence_report_ms=100,
)


def frame(sequence: int) -> UserAudio:
    return UserAudio(sequence, sequence.to_bytes(2, "little") * 320)


def events_of(taker: TurnTaker, pattern: str, first: int = 0) -> list[tuple[int, TurnEvent]]:
    """Give the taker one 20 ms frame for each character, `v` being voice."""
    return [
        (sequence, event)
        for sequence, kind in enumerate(pattern, start=first)
        for event in taker.hear(frame(sequence), 0.9 if kind == "v" else 0.0)
    ]


def test_the_table_covers_what_a_phase_can_meet() -> None:
    in_turn = {Signal.VOICE, Signal.NO_VOICE, Signal.ENOUGH_SILENCE, Signal.ENOUGH_TURN}
    waiting = {Signal.VOICE, Signal.NO_VOICE, Signal.ENOUGH_VOICE}
    expected = {*product((Phase.QUIET, Phase.RISING), waiting), *product((Phase.SPEAKING, Phase.PAUSING), in_turn)}
    assert set(TRANSITIONS) == expected


def test_turns_begin_and_end_in_pairs_in_the_table() -> None:
    for (before, _), (after, action) in TRANSITIONS.items():
        was_in_turn, is_in_turn = (phase in (Phase.SPEAKING, Phase.PAUSING) for phase in (before, after))
        assert (action is Action.BEGIN) == (is_in_turn and not was_in_turn)
        assert (action is Action.END) == (was_in_turn and not is_in_turn)


def test_a_turn_has_its_preroll_and_ends_after_patience() -> None:
    events = events_of(TurnTaker(16_000, TIMING), "." * 10 + "vvvvv" + "." * 12)
    started_at, started = next((at, event) for at, event in events if isinstance(event, TurnStarted))
    assert started_at == 12
    assert started.sequence == 7
    assert started.onset == 10
    assert started.pcm == b"".join(frame(sequence).pcm for sequence in range(7, 13))
    ended_at, ended = next((at, event) for at, event in events if isinstance(event, TurnEnded))
    assert (ended_at, ended.through_sequence) == (24, 24)


def test_a_click_is_no_turn() -> None:
    events = events_of(TurnTaker(16_000, TIMING), ".....vv.....vv....")
    assert all(isinstance(event, NothingPending) for _, event in events)


def test_a_pause_within_patience_does_not_end_the_turn() -> None:
    events = events_of(TurnTaker(16_000, TIMING), "vvvvv" + "." * 9 + "vvv" + "." * 9 + "v")
    assert not any(isinstance(event, TurnEnded) for _, event in events)


def test_an_unfinished_sentence_gets_more_patience() -> None:
    taker = TurnTaker(16_000, TIMING)
    events_of(taker, "vvvvv")
    taker.is_whole = False
    assert not any(isinstance(event, TurnEnded) for _, event in events_of(taker, "." * 19, 5))
    assert any(isinstance(event, TurnEnded) for _, event in events_of(taker, ".", 24))
    assert taker.is_whole is None


@pytest.mark.parametrize(
    ("sounds_over", "is_whole", "frames"),
    [
        (None, None, 10),
        (None, True, 10),
        (None, False, 20),
        (True, None, 5),
        (False, None, 20),
        (True, True, 5),
        (False, False, 20),
        (True, False, 10),
        (False, True, 10),
    ],
)
def test_the_pause_that_ends_a_turn_follows_what_sound_and_words_say(
    sounds_over: bool | None, is_whole: bool | None, frames: int
) -> None:
    taker = TurnTaker(16_000, TIMING)
    events_of(taker, "vvvvv" + "." * 4)
    taker.sounds_over, taker.is_whole = sounds_over, is_whole
    ends = [at for at, event in events_of(taker, "." * 30, 9) if isinstance(event, TurnEnded)]
    assert ends == [5 + frames - 1]


def test_an_endless_turn_is_cut() -> None:
    taker = TurnTaker(16_000, TurnTiming(onset_ms=20, max_turn_ms=1_000))
    events = events_of(taker, "v" * 120)
    assert [event.through_sequence for _, event in events if isinstance(event, TurnEnded)] == [49, 99]


def test_finish_ends_a_pending_turn() -> None:
    taker = TurnTaker(16_000, TIMING)
    events_of(taker, "....vvvvv")
    assert taker.finish() == [TurnEnded(8, voice_sequence=8)]
    assert taker.finish() == [NothingPending(8)]
    assert TurnTaker(16_000).finish() == []


@pytest.mark.parametrize("seed", range(20))
def test_no_frame_is_forgotten_before_its_turn(seed: int) -> None:
    rng = Random(seed)
    taker = TurnTaker(16_000, TIMING)
    sequence, covered, fed = 0, -1, {}
    is_in_turn = False
    for _ in range(60):
        kind, length = rng.choice("v."), rng.randrange(1, 25)
        for _, event in events_of(taker, kind * length, sequence):
            match event:
                case TurnStarted(first, pcm, onset):
                    assert not is_in_turn
                    assert first > covered
                    assert first <= onset
                    is_in_turn = True
                    fed = {first: pcm}
                case TurnContinued():
                    assert is_in_turn
                case TurnEnded(through, voice):
                    assert fed
                    assert through > covered
                    assert voice <= through
                    covered, is_in_turn = through, False
                case NothingPending(through):
                    assert not is_in_turn
                    assert through >= covered
                    covered = through
        sequence += length
