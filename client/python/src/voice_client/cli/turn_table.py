"""Where the time of each turn went, as a table beside the budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from voice_client.call.turns import BUDGET_MS, TurnLatency

_PARTS: Final = ("response", "uplink_age", "endpointing", "stt", "llm", "tts", "downlink", "playout")
_EVENTS: Final = ("barge_in", "migration_gap", "resume_gap")


def turn_table(turns: Sequence[TurnLatency]) -> Table:
    """A row for each turn, in ms; what is over its budget is yellow, what never happened has no column."""
    columns = [*_PARTS, *(name for name in _EVENTS if any(_value(turn, name) is not None for turn in turns))]
    has_replays = any(turn.frames_replayed for turn in turns)
    table = Table(box=None, pad_edge=False, header_style="dim", caption_style="dim", caption_justify="left")
    table.caption = "ms; response is the sum of the parts up to playout"
    for name in ("turn", *columns, *(["replayed"] if has_replays else [])):
        table.add_column(name.replace("_", " "), justify="right")
    for turn in turns:
        cells = [_cell(_value(turn, name), BUDGET_MS.get(name)) for name in columns]
        table.add_row(str(turn.turn), *cells, *([str(turn.frames_replayed)] if has_replays else []))
    budgets = [f"{BUDGET_MS[name]:.0f}" if name in BUDGET_MS else "" for name in columns]
    table.add_row("budget", *budgets, *([""] if has_replays else []), style="dim")
    return table


def _value(turn: TurnLatency, name: str) -> float | None:
    value: float | None = getattr(turn, f"{name}_ms")
    return value


def _cell(value_ms: float | None, budget_ms: float | None) -> Text:
    if value_ms is None:
        return Text("-", style="dim")
    return Text(f"{value_ms:.0f}", style="yellow" if budget_ms is not None and value_ms > budget_ms else "")
