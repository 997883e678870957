"""The points of a turn at which hosts are killed, with the controls, and the rows of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.figures import summary
from bench.hosts.cell import CONTROL_PROGRAM, PROGRAM, Cell
from bench.hosts.kills import WORDS, KillOutcome, hold_calls
from bench.hosts.waiter import POINTS

HEADER: Final = (
    "host killed",
    "calls (kills)",
    "failed",
    "at the point",
    "words lost",
    "effects under a second key",
    "repeated under their key",
    "wrong transcripts",
    "wrong states",
    "gap ms: median",
    "p99",
)


@dataclass(slots=True)
class Setting:
    """How worker and hosts run, and the points that are measured so. `must_count` is what a control has to show."""

    name: str
    points: tuple[str, ...]
    program: Sequence[str] = PROGRAM
    environ: Mapping[str, str] = field(default_factory=dict)
    must_count: str = ""
    kills: dict[str, list[KillOutcome]] = field(default_factory=dict)

    def left(self, count: int) -> list[str]:
        """Return the points that lack calls."""
        return [point for point in self.points if self.held(point) < count]

    def held(self, point: str) -> int:
        """Return how many calls there were."""
        return sum(len(each.calls) for each in self.kills.get(point, ()))

    async def run(self, folder: Path, count: int, calls: int, on_kill: Callable[[Setting, str], None]) -> None:
        """Measure all points in turn, with so many calls at each kill."""
        if not self.left(count):
            return
        cell = Cell(folder, has_spare=True, program=self.program, environ=self.environ)
        try:
            await cell.start()
            while points := self.left(count):
                for point in points:
                    await cell.revive()
                    self.kills.setdefault(point, []).append(await hold_calls(cell, point, WORDS[:1], calls))
                    on_kill(self, point)
        finally:
            await cell.stop()

    def figures(self, point: str) -> dict[str, Any]:
        """Return what was counted."""
        kills = self.kills[point]
        calls = [each for kill in kills for each in kill.calls]
        gaps_ms = [gap for kill in kills for gap in kill.gaps_ms]
        return {
            "calls": len(calls),
            "kills": sum(bool(kill.killed) for kill in kills),
            "failed": sum(bool(each.error) for each in calls),
            "at the point": sum(kill.killed for kill in kills),
            "words lost": sum(kill.words_lost for kill in kills),
            "effects under a second key": sum(kill.doubled for kill in kills),
            "repeated under their key": sum(kill.repeated for kill in kills),
            "wrong transcripts": sum(not each.is_transcript_right for each in calls),
            "wrong states": sum(not each.is_state_right for each in calls),
            "gap_ms": summary(gaps_ms) if gaps_ms else None,
            "errors": sorted({each.error for each in calls if each.error}),
        }

    def row(self, point: str) -> list[object]:
        """Return the table's row."""
        found = self.figures(point)
        gap = found["gap_ms"] or {"median": "", "p99": ""}
        name = point.replace("_", " ") + (f", {self.name}" if self.name else "")
        counts = (found[each] for each in HEADER[2:9])
        return [name, f"{found['calls']} ({found['kills']})", *counts, gap["median"], gap["p99"]]

    def documents(self) -> list[dict[str, Any]]:
        """Return what was counted at each point, and the kills."""
        return [
            {"setting": self.name, "point": point, **self.figures(point), "outcomes": msgspec.to_builtins(kills)}
            for point, kills in self.kills.items()
        ]

    def restore(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Take the kills of an earlier run."""
        for each in documents:
            if each["setting"] == self.name and each["point"] in self.points:
                self.kills[each["point"]] = msgspec.convert(each["outcomes"], list[KillOutcome])

    def faults(self) -> list[str]:
        """Return one sentence for each point where this control showed nothing."""
        return [
            f"the control {self.name!r} shows no {self.must_count}: the zeros of the others prove nothing"
            for point in self.kills
            if self.must_count and not self.figures(point)[self.must_count]
        ]


def settings() -> dict[str, list[Setting]]:
    """Return what each part of the bench measures."""
    return {
        "kills": [Setting("", POINTS)],
        "controls": [
            Setting(
                "tools without a journal",
                ("after_effect",),
                environ={"HOSTS_BENCH_CONTROL": "1"},
                must_count="effects under a second key",
            ),
            Setting(
                "no frames kept for the next host",
                ("in_utterance", "before_understood"),
                program=CONTROL_PROGRAM,
                must_count="words lost",
            ),
        ],
    }
