"""The latency of each turn: a bar of its parts with a mark at 800 ms, and the figures beside the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.table import Table
from rich.text import Text

from voice_client.call.turns import BUDGET_MS, TurnLatency

_CELL_MS: Final = 40
_BAR_CELLS: Final = 25
_EVENTS: Final = ("barge_in", "migration_gap", "resume_gap")


@dataclass(frozen=True, slots=True)
class _Part:
    """`fields` are summed; `budgeted` is the one with a budget."""

    name: str
    style: str
    fields: tuple[str, ...]
    budgeted: str | None = None


_PARTS: Final = (
    _Part("network", "blue", ("uplink_age", "downlink"), "uplink_age"),
    _Part("end of turn", "bright_black", ("endpointing",)),
    _Part("speech-to-text", "magenta", ("stt",), "stt"),
    _Part("language model", "red", ("llm",), "llm"),
    _Part("text-to-speech", "cyan", ("tts",), "tts"),
    _Part("playout", "green", ("playout",)),
)


def turn_table(turns: Sequence[TurnLatency]) -> Table:
    """A row for each turn, in ms; what is over its budget is yellow, what never happened has no column."""
    events = [name for name in _EVENTS if any(_value(turn, name) is not None for turn in turns)]
    has_replays = any(turn.frames_replayed for turn in turns)
    table = Table(box=None, pad_edge=False, header_style="dim", caption_style="dim", caption_justify="left")
    table.caption = f"ms; response is the sum of the parts; the bar ends at {_BAR_CELLS * _CELL_MS} ms, │ is 800 ms"
    table.add_column("turn", justify="right")
    table.add_column("latency")
    table.add_column("response", justify="right")
    for part in _PARTS:
        table.add_column(Text(part.name, style=part.style), justify="right")
    for name in (*(each.replace("_", " ") for each in events), *(["replayed"] if has_replays else [])):
        table.add_column(name, justify="right")
    for turn in turns:
        cells = [
            _cell(_value(turn, "response"), BUDGET_MS["response"]),
            *(_part_cell(turn, part) for part in _PARTS),
            *(_cell(_value(turn, name), None) for name in events),
        ]
        table.add_row(str(turn.turn), _bar(turn), *cells, *([str(turn.frames_replayed)] if has_replays else []))
    budgets = [f"{BUDGET_MS[part.budgeted]:.0f}" if part.budgeted else "" for part in _PARTS]
    budgets[0] += " up"
    table.add_row("budget", "", f"{BUDGET_MS['response']:.0f}", *budgets, style="dim")
    return table


def _bar(turn: TurnLatency) -> Text:
    """A cell for each 40 ms in the colour of its part; what is longer is cut off at the end."""
    mark = round(BUDGET_MS["response"] / _CELL_MS)
    styles: list[str] = []
    end_ms = 0.0
    for part in _PARTS:
        end_ms += _sum(turn, part) or 0.0
        styles += [part.style] * (round(end_ms / _CELL_MS) - len(styles))
    bar = Text()
    for cell in range(_BAR_CELLS):
        if cell == mark:
            bar.append("│")
        bar.append("█", styles[cell]) if cell < len(styles) else bar.append(" ")
    return bar


def _part_cell(turn: TurnLatency, part: _Part) -> Text:
    cell = _cell(_sum(turn, part), None)
    if part.budgeted is not None and (_value(turn, part.budgeted) or 0.0) > BUDGET_MS[part.budgeted]:
        cell.style = "yellow"
    return cell


def _sum(turn: TurnLatency, part: _Part) -> float | None:
    known = [value for name in part.fields if (value := _value(turn, name)) is not None]
    return sum(known) if known else None


def _value(turn: TurnLatency, name: str) -> float | None:
    value: float | None = getattr(turn, f"{name}_ms")
    return value


def _cell(value_ms: float | None, budget_ms: float | None) -> Text:
    if value_ms is None:
        return Text("-", style="dim")
    return Text(f"{value_ms:.0f}", style="yellow" if budget_ms is not None and value_ms > budget_ms else "")
