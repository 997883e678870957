"""Recorded links. Two formats, by suffix; both begin again at their end.

`.csv`: a header, then a row for each change: `at_ms,delay_ms,loss[,rate_kbit]`; the loss is a share, 1 a blackout.
Any other: Mahimahi's, one line for each chance to deliver 1,504 bytes, in ms from the beginning.
"""

from __future__ import annotations

import bisect
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from voice_eval.errors import ScenarioError

DELIVERY_BYTES: Final = 1_504
_LONGEST_MS: Final = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class TraceRow:
    """From `at_s` on."""

    at_s: float
    delay_s: float
    loss: float
    rate_kbit: float | None


@dataclass(frozen=True, slots=True)
class Trace:
    """Rows of a link, or instants at which `DELIVERY_BYTES` may pass; `length_s` until it begins again."""

    length_s: float
    rows: tuple[TraceRow, ...] = ()
    deliveries_s: tuple[float, ...] = ()

    def row(self, at_s: float) -> TraceRow:
        """The row in force."""
        place = bisect.bisect_right(self.rows, at_s % self.length_s, key=lambda row: row.at_s)
        return self.rows[max(0, place - 1)]

    def next_delivery(self, number: int) -> float:
        """When the `number`-th chance to deliver is."""
        rounds, place = divmod(number, len(self.deliveries_s))
        return rounds * self.length_s + self.deliveries_s[place]

    def first_delivery(self, at_s: float) -> int:
        """The number of the first chance at or after this instant."""
        rounds, within = divmod(at_s, self.length_s)
        return int(rounds) * len(self.deliveries_s) + bisect.bisect_left(self.deliveries_s, within)


def load_trace(path: Path) -> Trace:
    """Read a trace; raises `ScenarioError` with line and value."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "the file is no text"
        raise ScenarioError(f"{path}: {reason.lower()}: give a trace in CSV or of Mahimahi") from None
    trace = _rows(path, text) if path.suffix == ".csv" else _deliveries(path, text)
    if trace.length_s <= 0:
        raise ScenarioError(f"{path}: the trace has no length: its last line must be later than 0 ms")
    return trace


def _rows(path: Path, text: str) -> Trace:
    reader = csv.DictReader(text.splitlines())
    wanted = ("at_ms", "delay_ms", "loss")
    missing = [name for name in wanted if name not in (reader.fieldnames or ())]
    if missing:
        raise ScenarioError(f"{path}:1: the header lacks {', '.join(missing)}: begin with at_ms,delay_ms,loss")
    rows: list[TraceRow] = []
    for record in reader:
        place = f"{path}:{reader.line_num}"
        at_ms = _number(place, "at_ms", record["at_ms"], _LONGEST_MS)
        delay_ms = _number(place, "delay_ms", record["delay_ms"], 60_000)
        rate = record.get("rate_kbit") or None
        row = TraceRow(
            at_ms / 1000,
            delay_ms / 1000,
            _number(place, "loss", record["loss"], 1),
            None if rate is None else _number(place, "rate_kbit", rate, 1e9) or 0.001,
        )
        if rows and row.at_s <= rows[-1].at_s:
            raise ScenarioError(f"{place}: at_ms: got {at_ms:g}: each row must be later than the one before")
        rows.append(row)
    if len(rows) < 2:
        raise ScenarioError(f"{path}: a trace needs two rows: the last one says when it begins again")
    return Trace(rows[-1].at_s, tuple(rows[:-1]))


def _deliveries(path: Path, text: str) -> Trace:
    instants: list[float] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            at_ms = _number(f"{path}:{number}", "delivery", line.strip(), _LONGEST_MS)
            if instants and at_ms / 1000 < instants[-1]:
                raise ScenarioError(f"{path}:{number}: got {at_ms:g}: instants must not go back")
            instants.append(at_ms / 1000)
    if not instants:
        raise ScenarioError(f"{path}: the trace is empty: give one instant in ms on each line")
    return Trace(instants[-1], deliveries_s=tuple(instants))


def _number(place: str, key: str, text: str | None, most: float) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise ScenarioError(f"{place}: {key}: got {text!r}: give a number from 0 to {most:g}")
    return value
