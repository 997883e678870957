"""Outcomes of uplink calls, and the words that are left of a recording."""

from __future__ import annotations

import math

import pytest

from bench.uplink.outcome import Outcome, together
from bench.uplink.report import BUSY_MS, CLEAN_LINK, Row, as_document, as_table, too_busy
from bench.uplink.spoken.playout import decoded_with_fec
from bench.uplink.spoken.recording import FRAME_BYTES, Passage
from bench.uplink.spoken.words import JITTER_BUFFER_MS, Words, sound_of
from bench.words.paths import opus_frames
from bench.words.score import Score
from tests.unit.voicelink.audio.signals import tone

FRAMES = 25
START = 40


@pytest.fixture(scope="module")
def passage() -> Passage:
    pcm = tone(300, 16_000, 0.5)
    return Passage("a tea", START, pcm, tuple(opus_frames(pcm)))


def call(late: dict[int, float] | None = None, *, lost: frozenset[int] = frozenset()) -> Outcome:
    late_ms = {n: (late or {}).get(n, 10.0) for n in range(200) if n not in lost}
    return Outcome(200, late_ms, 20_000)


def test_passage_has_as_many_frames_as_its_sound(passage: Passage) -> None:
    assert passage.length == FRAMES == len(passage.pcm) // FRAME_BYTES
    assert passage.arrived(range(START, START + FRAMES)) == passage.frames


def test_frames_of_a_call_are_those_of_the_passage_by_number(passage: Passage) -> None:
    sound = sound_of(passage, call(lost=frozenset({START + 3, START + 4, START - 1, START + FRAMES})), math.inf)
    assert [each.sequence for each in sound.audio] == [n for n in range(FRAMES) if n not in {3, 4}]
    assert len(sound.audio[3].pcm) == 3 * FRAME_BYTES  # two concealed, and itself
    assert sound.text == "a tea"


def test_frame_beyond_the_jitter_buffer_is_concealed_and_one_within_it_is_not(passage: Passage) -> None:
    outcome = call({START + 3: JITTER_BUFFER_MS + 1, START + 7: JITTER_BUFFER_MS})
    played, whole = (sound_of(passage, outcome, limit) for limit in (JITTER_BUFFER_MS, math.inf))
    assert [each.sequence for each in played.audio] == [n for n in range(FRAMES) if n != 3]
    assert whole == sound_of(passage, call(), math.inf)
    assert played != whole


def test_caller_with_an_encoder_of_its_own_is_decoded_from_its_packets(passage: Passage) -> None:
    packets = {START + n: frame.payload for n, frame in enumerate(passage.frames) if n != 5}
    outcome = Outcome(200, dict.fromkeys(packets, 10.0), 20_000, packets)
    sound = sound_of(passage, outcome, JITTER_BUFFER_MS)
    own = {n - START: packet for n, packet in packets.items()}
    assert sound.audio == tuple(decoded_with_fec(own, FRAMES))
    assert [len(each.pcm) for each in sound.audio] == [FRAME_BYTES] * FRAMES


def test_calls_together_have_all_frames() -> None:
    outcome = together([call(lost=frozenset({1})), call({5: 90.0})])
    assert (outcome.sent, outcome.byte_count, len(outcome.late_ms)) == (400, 40_000, 399)
    assert outcome.late_ms[205] == outcome.late_by(100) == 90


def test_report_has_words_where_they_were_recognised() -> None:
    words = Words(Score(20, 3, 4, 2), Score(20, 1, 4, 3))
    results = {"5 %": {"one stream": Row(call()), "peer": Row(call(lost=frozenset({1, 2})), words)}}
    stream, peer = as_table(results).splitlines()[2:]
    assert stream.endswith("| 1.00 |  |  |")
    assert peer.endswith("| 1.00 | 3 of 20 | 1 of 20 |")
    found = as_document(results)["5 %"]
    assert "words" not in found["one stream"]
    assert found["peer"]["words"] == {"said": 20, "wrong": 3, "orders": 4, "orders_right": 2}
    assert found["peer"]["delivered_percent"] == 99


def test_machine_is_too_busy_for_a_way_that_is_late_without_loss() -> None:
    late = call(dict.fromkeys(range(10), BUSY_MS + 1))
    results = {CLEAN_LINK: {"peer": Row(late), "one stream": Row(call())}, "5 %": {"one stream": Row(late)}}
    assert too_busy(results) == ["peer"]
    assert too_busy({"5 %": {"one stream": Row(late)}}) == []
