"""The cells of one way: their rounds of calls, what was counted in them, and the rows of the table."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.agents.kills import EFFECT, MID_SPEECH, NOTHING, Cell, Outcome, Round, hold_calls
from bench.agents.lane import Lane
from bench.agents.ways import FORGETFUL, WAYS, Way
from bench.figures import summary

HEADER: Final = (
    "way",
    "killed",
    "calls (kills)",
    "failed",
    "words lost",
    "effects under a second key",
    "repeated under their key",
    "wrong transcripts",
    "wrong states",
    "silence ms: median",
    "p99",
)
UNDISTURBED: Final = Cell("", NOTHING)


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured: calls in each cell, calls that one kill meets, and until when cells go on."""

    count: int
    calls: int
    until: float = float("inf")


@dataclass(slots=True)
class Job:
    """One way with the cells that it is measured in. `must_count` is what a control has to show."""

    way: Way
    cells: tuple[Cell, ...]
    has_store: bool = True
    must_count: str = ""
    rounds: dict[Cell, list[Round]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the way's name, and what the control lacks."""
        return self.way.name if self.has_store else f"{self.way.name} without store"

    def left(self, amount: Amount) -> list[Cell]:
        """Return the cells that lack calls; after `until` those that have none."""
        is_late = time.monotonic() > amount.until
        return [cell for cell in self.cells if self.held(cell) < (1 if is_late else amount.count)]

    async def run(self, folder: Path, amount: Amount, on_round: Callable[[Job, Cell], None]) -> None:
        """Measure all cells in turn."""
        lane = Lane(self.way, folder, self.has_store)
        try:
            while cells := self.left(amount):
                for cell in cells:
                    await lane.start()
                    self.rounds.setdefault(cell, []).append(await hold_calls(lane, cell, amount.calls))
                    on_round(self, cell)
        finally:
            await lane.stop()

    def held(self, cell: Cell) -> int:
        """Return how many calls there were."""
        return sum(len(each.outcomes) for each in self.rounds.get(cell, ()))

    def restore(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Take the rounds of an earlier run."""
        for each in documents:
            cell = Cell(each["killed"], each["place"])
            if each["way"] == self.name and cell in self.cells:
                self.rounds[cell] = msgspec.convert(each["rounds"], list[Round])

    def documents(self) -> list[dict[str, Any]]:
        """Return what was counted in each cell, and the rounds."""
        return [
            {"way": self.name, "killed": cell.victim, "place": cell.place}
            | self.figures(cell)
            | {"rounds": msgspec.to_builtins(rounds)}
            for cell, rounds in self.rounds.items()
        ]

    def figures(self, cell: Cell) -> dict[str, Any]:
        """Return what was counted."""
        rounds = self.rounds[cell]
        outcomes = [each for found in rounds for each in found.outcomes]
        usual = self._usual()
        silences = [each.silence_ms for each in outcomes if each.silence_ms is not None]
        return {
            "calls": len(outcomes),
            "kills": len(rounds) if cell.victim else 0,
            "failed": sum(bool(each.error) for each in outcomes),
            "errors": sorted({each.error for each in outcomes if each.error}),
            "words lost": sum(each.words_lost for each in outcomes),
            "effects under a second key": sum(max(0, len(set(each.keys)) - len(each.outcomes)) for each in rounds),
            "effects missing": sum(max(0, len(each.outcomes) - len(set(each.keys))) for each in rounds),
            "repeated under their key": sum(len(each.keys) - len(set(each.keys)) for each in rounds),
            "wrong transcripts": sum(each.transcript != usual.transcript for each in outcomes),
            "wrong states": sum(each.state != usual.state for each in outcomes),
            "violations": [each for found in rounds for each in found.violations],
            "silence_ms": summary(silences) if silences else None,
            "transcripts": Counter(str(each.transcript) for each in outcomes).most_common(),
        }

    def odd(self, cell: Cell) -> list[str]:
        """Return what was unlike undisturbed calls in the last round."""
        usual, last = self._usual(), self.rounds[cell][-1]
        calls = [
            f"{each.error} {each.transcript}"
            for each in last.outcomes
            if each.error or each.transcript != usual.transcript
        ]
        return [*calls, *last.violations]

    def row(self, cell: Cell) -> list[object]:
        """Return the table's row."""
        found = self.figures(cell)
        silence = found["silence_ms"] or {"median": "", "p99": ""}
        return [
            self.name,
            f"{cell.victim} {cell.place}".strip(),
            f"{found['calls']} ({found['kills']})",
            *(found[each] for each in HEADER[3:9]),
            silence["median"],
            silence["p99"],
        ]

    def faults(self) -> list[str]:
        """Return one sentence where this is a control that showed nothing."""
        killed = [cell for cell in self.rounds if cell.victim]
        if not self.must_count or not killed or any(self.figures(cell)[self.must_count] for cell in killed):
            return []
        return [f"the control {self.name!r} shows no {self.must_count}: the zeros of the others prove nothing"]

    def _usual(self) -> Outcome:
        """Return what most of the undisturbed calls were like."""
        outcomes = [each for found in self.rounds.get(UNDISTURBED, ()) for each in found.outcomes]
        if not outcomes:
            return Outcome(0, (), {}, None)
        kinds = [repr((each.transcript, each.state)) for each in outcomes]
        return outcomes[kinds.index(Counter(kinds).most_common(1)[0][0])]


def jobs_of(names: Sequence[str]) -> list[Job]:
    """Return the ways of these names, by default all with the controls."""
    jobs = [
        Job(way, (UNDISTURBED, *(Cell(victim, place) for victim in way.victims for place in (MID_SPEECH, EFFECT))))
        for way in WAYS
    ]
    jobs.append(Job(FORGETFUL, (UNDISTURBED, Cell("worker", EFFECT)), must_count="effects under a second key"))
    jobs.append(Job(WAYS[0], (UNDISTURBED, Cell("worker", MID_SPEECH)), has_store=False, must_count="words lost"))
    known = [job.name for job in jobs]
    if unknown := set(names) - set(known):
        raise ValueError(f"unknown way {', '.join(sorted(unknown))}: one of {', '.join(known)}")
    return [job for job in jobs if not names or job.name in names]
