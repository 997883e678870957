"""The arithmetic of `make bench-capacity`: spreads, slopes, ramps, ratios and sizes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from bench.capacity.generator import CallerView, Grown, Handshakes, Quantiles
from bench.capacity.layers import QUIC_BUILD
from bench.capacity.measure import Slope, Spread, Window
from bench.capacity.report import HEADROOM, Findings, markdown, ramp_slope, sizing_rows
from bench.capacity.runs.alternation import abba, ratios
from bench.capacity.runs.handshakes import Handshaking
from bench.capacity.runs.pair import Pair, PairLevel
from bench.capacity.runs.profiling import Profile
from bench.capacity.runs.ramp import Level, Ramp, too_many
from bench.capacity.runs.survey import Survey
from bench.capacity.servers.server import Server
from bench.capacity.servers.worker import worker
from bench.capacity.traffic import CONVERSATION, RATE_HZ, SELDOM, TICKS_PER_MS, Talk
from voicelink.audio.codec import FrameDecoder
from voicelink.audio.vad import EnergyVoiceActivity
from voicelink.wire import AudioFrame, Codec

GOOD = Quantiles(100, 1.0, 3.0, 5.0)
CALLERS = CallerView(5.0, 10, 0, "", 1000, 1000, 60_000, 0.1, GOOD, GOOD, GOOD, GOOD)
WINDOW = Window(cpu_s=0.5, system_s=0.1, resident_bytes=100_000_000, others=0.01, callers=CALLERS)
SERVER = Server("a server", "quic", ("true",), "127.0.0.1:1")
GROWN = Grown(10, 10, 0, "")


def level(sessions: int, fault: str | None = None, resident_bytes: int = 0) -> Level:
    return Level(sessions, replace(WINDOW, resident_bytes=resident_bytes), GOOD, fault)


def test_cost_is_cpu_per_session_and_second_and_per_frame_of_either_direction() -> None:
    assert WINDOW.cpu_ms_per_session_s == pytest.approx(10.0)
    assert WINDOW.us_per_frame == pytest.approx(250.0)


def test_a_window_without_frames_has_no_cost_per_frame() -> None:
    silent = replace(WINDOW, callers=replace(CALLERS, frames_sent=0, frames_received=0))
    assert silent.us_per_frame == 0.0


def test_a_spread_is_median_and_range() -> None:
    spread = Spread.of([3.0, 1.0, 2.0])
    assert (spread.n, spread.median, spread.least, spread.most) == (3, 2.0, 1.0, 3.0)
    assert spread.text(1) == "2.0 (1.0 to 3.0)"
    with pytest.raises(ValueError, match="at least one"):
        Spread.of([])


def test_a_slope_is_by_least_squares_and_has_an_error() -> None:
    exact = Slope.of([(20.0, 120.0), (70.0, 170.0), (120.0, 220.0)])
    assert (exact.per_x, exact.error) == (pytest.approx(1.0), pytest.approx(0.0))
    assert Slope.of([(0.0, 0.0), (1.0, 2.0), (2.0, 2.0)]).error == pytest.approx(0.577, abs=0.001)
    with pytest.raises(ValueError, match="three points"):
        Slope.of([(1.0, 1.0), (2.0, 2.0)])


def test_ratios_are_of_the_windows_of_one_round() -> None:
    """The second round is twice as slow for both: the ratio is the same."""
    new, old = [WINDOW, replace(WINDOW, cpu_s=1.0)], [replace(WINDOW, cpu_s=1.0), replace(WINDOW, cpu_s=2.0)]
    assert ratios(new, old) == Spread(2, 0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("grown", "callers", "fault"),
    [
        (GROWN, CALLERS, None),
        (replace(GROWN, failed=1, reason="timeout"), CALLERS, "1 sessions refused: timeout"),
        (GROWN, replace(CALLERS, lost=2, reason="reset"), "2 sessions lost: reset"),
        (GROWN, replace(CALLERS, behind_ms=replace(GOOD, p99=10.0)), "the generator was late itself: 10.0 ms at p99"),
        (GROWN, replace(CALLERS, echo_ms=replace(GOOD, p99=19.9)), None),
        (GROWN, replace(CALLERS, echo_ms=replace(GOOD, p99=20.0)), "late: 20.0 ms at p99"),
        (GROWN, replace(CALLERS, frames_received=960), "40 of 1000 frames did not come back"),
        (GROWN, replace(CALLERS, pong_ms=replace(GOOD, p99=99.0)), None),
    ],
)
def test_a_level_is_too_high_where_frames_are_late_or_sessions_missing(
    grown: Grown, callers: CallerView, fault: str | None
) -> None:
    assert too_many(SERVER, grown, replace(WINDOW, callers=callers)) == fault


def test_pongs_decide_where_whole_utterances_are_answered() -> None:
    server = replace(SERVER, has_echo=False)
    few = replace(CALLERS, frames_received=500)
    assert too_many(server, GROWN, replace(WINDOW, callers=few)) is None
    late = replace(few, pong_ms=replace(GOOD, p99=20.0))
    assert too_many(server, GROWN, replace(WINDOW, callers=late)) == "late: 20.0 ms at p99"


def test_a_ramp_tells_what_was_carried_and_what_was_too_much() -> None:
    ramp = Ramp((level(10), level(14), level(18, "late")))
    assert (ramp.carried, ramp.at_most) == (14, 18)
    assert Ramp((level(10, "late"),)).carried == 0
    assert Ramp((level(10),)).at_most is None


def test_memory_of_a_ramp_leaves_out_the_level_that_was_too_much() -> None:
    """Its queues are no memory of sessions."""
    levels = [level(10, None, 110), level(20, None, 120), level(30, None, 130), level(40, "late", 900)]
    slope = ramp_slope(Ramp(tuple(levels)))
    assert slope is not None
    assert (slope.n, slope.per_x) == (3, pytest.approx(1.0))
    assert ramp_slope(Ramp((level(10), level(20)))) is None


@pytest.fixture
def findings() -> Findings:
    handshakes = Handshaking(Handshakes(5.0, 500, 0, "", 0.1, GOOD), 2.5)
    ramp = Ramp((level(50), level(60, "late")))
    slower = replace(WINDOW, cpu_s=0.625)
    pair = Pair((WINDOW, WINDOW), (slower, slower), (PairLevel(40, (WINDOW, WINDOW), None),), shares_cores=True)
    return Findings(
        16,
        ["this tree", "old"],
        [[WINDOW, WINDOW], [slower, slower]],
        profiles={"this tree": Profile(Counter({QUIC_BUILD: 30, "session": 70}), WINDOW)},
        memory=[(20, 102_000_000), (70, 107_000_000), (120, 112_000_000)],
        surveys=[Survey(replace(SERVER, has_echo=False), 90_000_000, (WINDOW,), None, WINDOW, handshakes, ramp)],
        missing={"pion": "Go is missing"},
        pair=pair,
    )


def test_sizes_leave_headroom_and_count_what_a_neighbour_costs(findings: Findings) -> None:
    rows = {row[0]: row for row in sizing_rows(findings)}
    assert rows[1][1] == int(50 * HEADROOM) == 35
    assert rows[2][1] == 2 * int(50 * HEADROOM / 1.25)
    assert rows[1][2] == "104 MB"
    assert rows[2][3] == "80 carried in all, callers on the same cores"


def test_no_sizes_without_a_ramp(findings: Findings) -> None:
    findings.surveys = []
    assert sizing_rows(findings) == []


def test_the_report_has_n_and_spread_and_says_whether_the_machine_was_quiet(findings: Findings) -> None:
    text = markdown(findings)
    assert "this tree by old, in alternating windows: **0.800 (0.800 to 0.800)**, n = 2 pairs" in text
    assert "| QUIC build | 30.0% ± 4.6% | 3.00 | 75 |" in text
    assert "**100 ± 0 KB per session**" in text
    assert "The machine was quiet" in text
    assert "Missing: pion: Go is missing" in text
    findings.windows = [[replace(WINDOW, others=0.06)], [WINDOW]]
    assert "NOT QUIET" in markdown(findings)


def test_handshakes_of_two_revisions_are_compared_window_by_window(findings: Findings) -> None:
    """The second round is twice as slow for both: the ratio is the same."""
    findings.handshakes = [
        [Handshaking(Handshakes(5.0, completed, 0, "", 0.1, GOOD), cpu_s) for cpu_s in (1.0, 2.0)]
        for completed in (600, 500)
    ]
    text = markdown(findings)
    assert "this tree: 450 (300 to 600) handshakes per second of CPU, n = 2" in text
    assert "this tree by old: **1.200 (1.200 to 1.200)**, n = 2 pairs" in text


def test_servers_take_turns_in_an_order_that_is_reversed_each_round() -> None:
    assert list(abba(2, 3)) == [0, 1, 1, 0, 0, 1]


def test_the_document_is_json(findings: Findings) -> None:
    assert (
        msgspec.json.decode(msgspec.json.encode(findings, enc_hook=str))["surveys"][0]["ramp"]["levels"][0]["sessions"]
        == 50
    )


def test_traffic_has_the_gaps_of_dtx() -> None:
    ticks = [tick for tick, _ in CONVERSATION.frames()]
    steps = {(after - before) // 48 for before, after in pairwise(ticks)}
    assert steps == {20, 100}
    assert CONVERSATION.frames_per_s == pytest.approx(26.0)
    assert SELDOM.frames_per_s < CONVERSATION.frames_per_s * 0.6


@pytest.mark.parametrize("talk", [CONVERSATION, SELDOM])
def test_a_pause_is_heard_as_one_however_often_the_pattern_comes(talk: Talk) -> None:
    decoder, activity = FrameDecoder(RATE_HZ), EnergyVoiceActivity(RATE_HZ)
    pattern, period = talk.frames(), round(talk.period_s * 1000) * TICKS_PER_MS
    voice_s = 0.0
    for number in range(3 * len(pattern)):
        tick, packet = pattern[number % len(pattern)]
        pcm = decoder.decode(AudioFrame(number, number // len(pattern) * period + tick, Codec.OPUS, packet))
        assert isinstance(pcm, bytes)
        if tick > talk.talk_s * 1000 * TICKS_PER_MS:
            voice_s += activity.probability(pcm) * len(pcm) / 2 / RATE_HZ
        else:
            activity.probability(pcm)
    assert voice_s < 0.3 * 3


def test_traffic_file_is_period_and_frames_behind_tick_and_length(tmp_path: Path) -> None:
    talk = Talk(talk_s=0.04, pause_s=0.06, pause_ms=60)
    data = talk.write(tmp_path / "pattern").read_bytes()
    frames, at = [], 4
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 6], "big")
        frames.append((int.from_bytes(data[at : at + 4], "big"), data[at + 6 : at + 6 + length]))
        at += 6 + length
    assert int.from_bytes(data[:4], "big") == 4800
    assert frames == talk.frames()
    assert [tick for tick, _ in frames] == [0, 960, 1920]


def test_a_worker_under_load_has_the_limits_of_one_address_raised(tmp_path: Path) -> None:
    server = worker(tmp_path, "this tree", tmp_path)
    (settings,) = tmp_path.glob("*.toml")
    assert "address_sessions = 100000" in settings.read_text()
    assert server.command[0] == str(tmp_path / ".venv" / "bin" / "voice-gateway")
    assert not server.has_echo
    assert worker(tmp_path, "echo", tmp_path, "a.b:C").has_echo
