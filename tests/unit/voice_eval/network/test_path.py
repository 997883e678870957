"""What a path does to packets, for a seed, over time."""

from __future__ import annotations

from pathlib import Path

import pytest

from voice_eval.errors import ScenarioError
from voice_eval.network.condition import (
    CLEAN,
    Bursts,
    Condition,
    Direction,
    Span,
    bundled_conditions,
    choose_conditions,
)
from voice_eval.network.path import LinkPaths, Outage, PacketPath, TcpPath
from voice_eval.network.trace import load_trace

EVERY_20_MS = [number * 0.02 for number in range(3_000)]


def lost(path: PacketPath) -> list[float]:
    return [at for at in EVERY_20_MS if path.carry(at, 100) is None]


def test_a_clean_path_loses_and_delays_nothing() -> None:
    assert [PacketPath(Direction(), "a").carry(at, 100) for at in EVERY_20_MS] == EVERY_20_MS


def test_the_same_seed_loses_the_same_and_another_seed_does_not() -> None:
    direction = Direction(loss=0.05, bursts=Bursts(share=0.05, mean_ms=100))
    assert lost(PacketPath(direction, "a")) == lost(PacketPath(direction, "a"))
    assert lost(PacketPath(direction, "a")) != lost(PacketPath(direction, "b"))


def test_bursts_hit_the_same_instants_however_many_packets_are_sent() -> None:
    direction = Direction(bursts=Bursts(share=0.05, mean_ms=100))
    sparse = lost(PacketPath(direction, "a"))
    dense, path = [], PacketPath(direction, "a")
    for at in EVERY_20_MS:
        is_lost = [path.carry(at + extra, 100) is None for extra in (0.0, 0.005, 0.01)]
        dense += [at] if is_lost[0] else []
    assert sparse == dense


def test_bursts_take_their_share_of_the_time() -> None:
    share = len(lost(PacketPath(Direction(bursts=Bursts(share=0.1, mean_ms=60)), "a"))) / len(EVERY_20_MS)
    assert 0.05 < share < 0.16


def test_jitter_keeps_the_order() -> None:
    path = PacketPath(Direction(delay_ms=10, jitter_ms=100), "a")
    arrivals = [path.carry(at, 100) or 0.0 for at in EVERY_20_MS]
    assert arrivals == sorted(arrivals)
    assert all(arrival - at >= 0.0099 for arrival, at in zip(arrivals, EVERY_20_MS, strict=True))


def test_a_full_queue_drops_and_an_empty_one_delays_by_the_rate() -> None:
    path = PacketPath(Direction(rate_kbit=80, queue_ms=150), "a")
    assert path.carry(0.0, 1_000) == pytest.approx(0.1)
    assert path.carry(0.0, 1_000) == pytest.approx(0.2)
    assert path.carry(0.0, 1_000) is None


def test_a_blackout_counts_from_the_first_word_and_comes_again() -> None:
    paths = LinkPaths(Condition(name="a", blackouts=(Span(at_ms=1_000, for_ms=500, every_ms=2_000),)), "seed")
    assert paths.up.carry(11.2, 100) is not None
    outages = paths.begin_speech(10.0, 14.0)
    assert outages == [Outage(11.0, 11.5), Outage(13.0, 13.5)]
    assert [paths.up.carry(at, 100) is None for at in (10.9, 11.2, 11.6, 13.1)] == [False, True, False, True]
    assert paths.down.carry(11.2, 100) is None


def test_a_stream_is_complete_and_in_order_and_waits_for_what_is_lost() -> None:
    path = PacketPath(Direction(delay_ms=50), "a")
    path.outages.append(Outage(1.0, 1.2))
    stream = TcpPath(path, 0.1)
    assert stream.carry(0.9, 100) == pytest.approx(0.95)
    # found lost after a round trip and 60 ms, in the blackout again; then 300 ms later
    assert stream.carry(1.0, 100) == pytest.approx(1.0 + 0.16 + 0.3 + 0.05)
    assert stream.carry(1.3, 100) == pytest.approx(1.51)
    assert stream.carry(2.0, 100) == pytest.approx(2.05)


def test_a_trace_of_rows_begins_again(tmp_path: Path) -> None:
    (tmp_path / "lift.csv").write_text("at_ms,delay_ms,loss\n0,10,0\n500,20,1\n1000,10,0\n")
    path = PacketPath(Direction(), "a", load_trace(tmp_path / "lift.csv"))
    assert [path.carry(at, 100) for at in (0.1, 0.6, 1.1, 1.7)] == [
        pytest.approx(0.11),
        None,
        pytest.approx(1.11),
        None,
    ]


def test_a_trace_of_mahimahi_delivers_at_its_instants(tmp_path: Path) -> None:
    (tmp_path / "train.up").write_text("10\n10\n200\n")
    path = PacketPath(Direction(), "a", load_trace(tmp_path / "train.up"))
    assert [path.carry(0.0, 1_504) for _ in range(3)] == [0.01, 0.01, 0.2]
    assert path.carry(0.2, 1_504) == pytest.approx(0.21)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.csv", "at_ms,loss\n0,0\n", "a.csv:1: the header lacks delay_ms: begin with at_ms,delay_ms,loss"),
        ("a.csv", "at_ms,delay_ms,loss\n0,1,2\n", "a.csv:2: loss: got '2': give a number from 0 to 1"),
        (
            "a.csv",
            "at_ms,delay_ms,loss\n5,1,0\n5,1,0\n",
            "a.csv:3: at_ms: got 5: each row must be later than the one before",
        ),
        ("a.csv", "at_ms,delay_ms,loss\n5,1,0\n", "a trace needs two rows"),
        ("a.up", "10\n5\n", "a.up:2: got 5: instants must not go back"),
        ("a.up", "x\n", "a.up:1: delivery: got 'x': give a number from 0 to"),
        ("a.up", "", "the trace is empty: give one instant in ms on each line"),
        ("a.up", "0\n", "the trace has no length"),
    ],
)
def test_a_mistake_in_a_trace_is_named(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ScenarioError) as error:
        load_trace(tmp_path / name)
    assert sentence in str(error.value)


def test_eight_conditions_and_the_clean_one_are_bundled() -> None:
    names = list(bundled_conditions())
    assert names[0] == CLEAN
    assert len(names) == 9
    assert [each.name for each, _ in choose_conditions(["all"])] == names[1:]


def test_conditions_are_chosen_by_name_file_or_trace(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("- {name: mine, trace: t.csv}\n")
    (tmp_path / "t.csv").write_text("at_ms,delay_ms,loss\n0,10,0\n500,20,1\n")
    chosen = choose_conditions(["train", "mine", str(tmp_path / "t.csv")], [tmp_path / "mine.yaml"])
    assert [(each.name, trace is not None) for each, trace in chosen] == [
        ("train", False),
        ("mine", True),
        ("trace-t", True),
    ]
    with pytest.raises(ScenarioError, match="condition 'tran' is unknown: use clean, office-wifi"):
        choose_conditions(["tran"])


def test_a_mistake_in_a_condition_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("- {name: mine, up: {loss: 2}}\n")
    with pytest.raises(ScenarioError, match=r"mine.yaml: \[0\]: up.loss: input should be less than 1, got 2"):
        choose_conditions(["mine"], [tmp_path / "mine.yaml"])
