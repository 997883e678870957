"""Where a turn's time went, on one clock, in any order of arrival."""

from __future__ import annotations

import io
import re
from itertools import permutations

import pytest
from rich.console import Console

from tests.unit.voicelink.audio.signals import tone
from voice_client.audio.playback import Playback
from voice_client.call.turns import TurnLatency, Turns
from voice_client.cli.turn_table import turn_table
from voicelink.wire import Latency, Measured

SERVED = Latency(
    turn=1, utterance_id=2, sequence=40, uplink_ms=5.0, endpointing_ms=650.0, stt_ms=20.0, llm_ms=10.0, tts_ms=60.0
)


def spoken() -> Turns:
    turns = Turns()
    for sequence in range(80):
        turns.captured(sequence, 100 + sequence * 0.02)
    for at, rtt_ms in enumerate((70.0, 60.0, 90.0)):
        turns.round_trip(rtt_ms, 100.0 + at)
    turns.announced(2, 1)
    return turns


ORDERS = [
    order
    for order in permutations(("latency", "arrived", "audible"))
    if order.index("arrived") < order.index("audible")  # nothing is audible before it has arrived
]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_the_parts_add_up_in_any_order(order: tuple[str, ...]) -> None:
    turns = spoken()
    steps = {
        "latency": lambda: turns.latency_received(SERVED),
        "arrived": lambda: turns.arrived(2, 101.6),
        "audible": lambda: turns.audible(2, 101.63),
    }
    reports = [report for step in order if (report := steps[step]()) is not None]
    assert reports == [Measured(turn=1, response_ms=830.0, uplink_age_ms=35.0, playout_ms=30.0)]
    (turn,) = turns.latencies
    parts = (turn.uplink_age_ms, turn.endpointing_ms, turn.stt_ms, turn.llm_ms, turn.tts_ms, turn.playout_ms)
    assert turn.downlink_ms == pytest.approx(830.0 - sum(part or 0.0 for part in parts))


def test_an_answer_is_measured_once() -> None:
    turns = spoken()
    turns.arrived(2, 101.6)
    assert turns.audible(2, 101.6) is None
    assert turns.latency_received(SERVED) is not None
    assert turns.audible(2, 101.7) is None


def test_a_part_that_the_agent_does_not_tell_leaves_the_total() -> None:
    turns = spoken()
    turns.arrived(2, 101.6)
    turns.latency_received(Latency(turn=1, utterance_id=2, sequence=40, llm_ms=10.0, tts_ms=1.0))
    assert turns.audible(2, 101.6) == Measured(turn=1, response_ms=800.0, playout_ms=0.0)
    assert turns.of(1).downlink_ms is None


def test_round_trips_of_long_ago_do_not_count() -> None:
    turns = spoken()
    turns.round_trip(200.0, 140.0)
    turns.arrived(2, 141.0)
    turns.latency_received(SERVED)
    assert turns.audible(2, 141.0).uplink_age_ms == 105.0


def test_silence_is_measured_from_the_first_voiced_frame() -> None:
    turns = spoken()
    assert turns.flushed(2, 60, 101.5) == Measured(turn=1, barge_in_ms=300.0)
    assert turns.of(1).barge_in_ms == 300.0
    assert turns.flushed(2, None, 101.5) is None
    assert turns.flushed(9, 60, 101.5) is None


def test_gaps_are_the_worst_of_their_turn_and_replayed_frames_add_up() -> None:
    turns = Turns()
    assert turns.resumed(3, 1_200.0, 60) == Measured(turn=3, resume_gap_ms=1_200.0, frames_replayed=60)
    turns.resumed(3, 400.0, 2)
    turns.migrated(3, 30.0)
    turns.migrated(3, 20.0)
    assert turns.of(3) == TurnLatency(3, migration_gap_ms=30.0, resume_gap_ms=1_200.0, frames_replayed=62)


def test_an_utterance_is_audible_once_and_not_while_it_is_silent() -> None:
    playback = Playback(24_000)
    playback.push(1, bytes(9_600) + tone(300, 24_000, 0.1))
    heard = []
    for step in range(15):
        playback.take_positions()
        playback.pull(480)
        heard += [(step, utterance_id) for utterance_id in playback.take_audible()]
    assert heard == [(10, 1)]


def test_the_table_shows_what_is_over_budget_and_only_what_happened() -> None:
    turns = (TurnLatency(1, 830.0, 35.0, 650.0, 20.0, 410.0, 60.0, 25.0, 30.0), TurnLatency(2, barge_in_ms=300.0))
    out = io.StringIO()
    Console(file=out, width=140, color_system="standard", force_terminal=True).print(turn_table(turns))
    text = out.getvalue()
    assert "\x1b[33m     830" in text
    assert re.search("\x1b\\[33m +410", text)
    assert all(name in text for name in ("network", "end of turn", "speech-to-text", "language model", "playout", "│"))
    assert "barge in" in text
    assert "resume gap" not in text
    assert "replayed" not in text
