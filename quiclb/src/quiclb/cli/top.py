"""`quiclb top`: what a load balancer does right now, from two scrapes of its metrics."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from quiclb.cli.scrape import Sample, scrape
from quiclb.errors import ScrapeError


@dataclass(frozen=True, slots=True)
class Flow:
    """What happened to datagrams: `outcome` and `reason` as in the metrics, in all and per second."""

    outcome: str
    reason: str
    total: int
    per_s: float


@dataclass(frozen=True, slots=True)
class BackendRow:
    """One backend: datagrams and bits per second to and from it, and probes missed in all."""

    name: str
    address: str
    state: str
    health: str
    to_per_s: float
    from_per_s: float
    to_bits_per_s: float
    from_bits_per_s: float
    probes_missed: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything `top` shows. Rates are those between two scrapes, `interval_s` apart."""

    interval_s: float
    version: int
    configs: int
    is_fail_open: bool
    reloads_refused: int
    conflicts: int
    packets: tuple[Flow, ...]
    replies: tuple[Flow, ...]
    losses: tuple[Flow, ...]
    backends: tuple[BackendRow, ...]

    @classmethod
    def between(cls, before: Sample, after: Sample) -> Report:
        """Compare two scrapes of one load balancer; a counter that went back began anew."""
        change = _Change(before, after)
        one = change.one
        losses = (
            *change.flows("quiclb_receive_drops_total", "side", None, "queue full"),
            *change.flows("quiclb_send_errors_total", "side", "error"),
        )
        return cls(
            interval_s=round(change.seconds, 3),
            version=one("quiclb_table_version", "quiclb_table_generation"),
            configs=one("quiclb_configs"),
            is_fail_open=bool(one("quiclb_health_fail_open")),
            reloads_refused=int(after.totals("quiclb_reloads_total", "result").get(("refused",), 0)),
            conflicts=one("quiclb_discovery_conflicts"),
            packets=change.flows("quiclb_packets_total", "decision", "reason"),
            replies=change.flows("quiclb_replies_total", "result", "reason"),
            losses=tuple(loss for loss in losses if loss.total),
            backends=change.backends(),
        )

    def as_json(self) -> dict[str, Any]:
        """The same as plain dictionaries and lists; `generation` is the former name of `version`."""
        return dataclasses.asdict(self) | {"generation": self.version}

    def render(self, height: int | None = None) -> RenderableType:
        """For a terminal; with a `height` in lines the busiest backends that fit, those in trouble first."""
        flows = Table("datagrams", "reason", expand=True, box=None, header_style="bold")
        flows.add_column("total", justify="right")
        flows.add_column("per s", justify="right")
        for side, group in (("", self.packets), ("reply ", self.replies), ("lost ", self.losses)):
            for flow in sorted(group, key=lambda flow: -flow.total):
                style = _OUTCOME_STYLES.get(flow.outcome, "") if side != "lost " else "red"
                outcome = Text(side + flow.outcome, style=style)
                flows.add_row(outcome, Text(flow.reason), f"{flow.total:,}", f"{flow.per_s:,.0f}")
        room = None if height is None else max(3, height - len(self.packets + self.replies + self.losses) - 11)
        ranked = sorted(self.backends, key=lambda row: (_is_well(row), -row.to_per_s, row.name))
        # rows keep their places while rates change
        shown = sorted(ranked[:room], key=lambda row: (_is_well(row), row.name))
        rows = Table("backend", "address", "state", "health", expand=True, box=None, header_style="bold")
        for name in ("to/s", "from/s", "Mbit/s to", "from", "missed"):
            rows.add_column(name, justify="right")
        for row in shown:
            rows.add_row(
                Text(row.name),
                Text("" if row.address == row.name else row.address),
                Text(row.state, style=_STATE_STYLES.get(row.state, "")),
                Text(row.health, style=_STATE_STYLES.get(row.health, "")),
                f"{row.to_per_s:,.0f}",
                f"{row.from_per_s:,.0f}",
                f"{row.to_bits_per_s / 1e6:,.2f}",
                f"{row.from_bits_per_s / 1e6:,.2f}",
                str(row.probes_missed),
            )
        hidden = len(ranked) - len(shown)
        tail = [Text(f"… {hidden} more backends", style="dim")] if hidden else []
        return Group(self._headline(), Text(), flows, Text(), rows, *tail)

    def _headline(self) -> Text:
        active = sum(row.state == "active" for row in self.backends)
        total = sum(flow.per_s for flow in self.packets)
        line = Text.assemble(
            ("quiclb", "bold"),
            f"  {total:,.0f} in/s  {sum(flow.per_s for flow in self.replies):,.0f} replies/s",
            f"  {active}/{len(self.backends)} backends active  {self.configs} {_plural('config', self.configs)}",
            f"  table {self.version}",
        )
        if self.is_fail_open:
            line.append("\nno active backend answers probes: health is ignored", style="bold red")
        if self.reloads_refused:
            line.append(f"\n{self.reloads_refused} {_plural('reload', self.reloads_refused)} refused", style="yellow")
        if self.conflicts:
            line.append(f"\n{self.conflicts} discovery {_plural('conflict', self.conflicts)}", style="yellow")
        return line


async def report(url: str, interval_s: float) -> Report:
    """Scrape twice, `interval_s` apart; raises `ScrapeError`."""
    before = await scrape(url)
    await asyncio.sleep(interval_s)
    return Report.between(before, await scrape(url))


async def watch(url: str, interval_s: float, console: Console) -> None:
    """Show the report until the task is cancelled; raises `ScrapeError` only if the first scrape fails."""
    before = await scrape(url)
    waiting = Text(f"quiclb  {url}  measuring ...", style="dim")
    with Live(waiting, console=console, screen=console.is_terminal, auto_refresh=False) as live:
        live.refresh()
        while True:
            await asyncio.sleep(interval_s)
            try:
                after = await scrape(url)
            except ScrapeError as error:
                live.update(Text(str(error), style="red"), refresh=True)
                continue
            live.update(Report.between(before, after).render(console.height), refresh=True)
            before = after


_OUTCOME_STYLES = {"routable": "green", "sent": "green", "fallback": "yellow", "drop": "red"}
_STATE_STYLES = {
    "active": "green",
    "up": "green",
    "draining": "yellow",
    "doubtful": "yellow",
    "unknown": "dim",
    "down": "red",
}


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _is_well(row: BackendRow) -> bool:
    return "down" not in (row.state, row.health)


class _Change:
    def __init__(self, before: Sample, after: Sample) -> None:
        self._before = before
        self._after = after
        self.seconds = max(after.at - before.at, 1e-9)

    def one(self, *names: str) -> int:
        """A gauge by its name or a former one; where processes each have one, the largest."""
        return int(max((figure for each, _, figure in self._after.figures if each in names), default=0))

    def rates(self, name: str, *labels: str) -> dict[tuple[str, ...], tuple[float, float]]:
        """Total and rate by labels."""
        before = self._before.totals(name, *labels)
        rates = {}
        for key, total in self._after.totals(name, *labels).items():
            former = before.get(key, 0.0)
            rates[key] = total, (total - former if total >= former else total) / self.seconds
        return rates

    def flows(self, name: str, outcome: str, reason: str | None, fixed: str = "") -> tuple[Flow, ...]:
        labels = (outcome,) if reason is None else (outcome, reason)
        return tuple(
            Flow(key[0], fixed if reason is None else key[1], int(total), round(rate, 3))
            for key, (total, rate) in sorted(self.rates(name, *labels).items())
        )

    def backends(self) -> tuple[BackendRow, ...]:
        packets = self.rates("quiclb_backend_packets_total", "backend", "direction")
        data = self.rates("quiclb_backend_bytes_total", "backend", "direction")
        probes = self._after.totals("quiclb_probes_total", "backend", "result")
        rows: Iterable[tuple[str, ...]] = self._after.totals(
            "quiclb_backend_info", "backend", "address", "state", "health"
        )
        return tuple(
            BackendRow(
                name=name,
                address=address,
                state=state,
                health=health,
                to_per_s=round(packets.get((name, "to"), (0, 0.0))[1], 3),
                from_per_s=round(packets.get((name, "from"), (0, 0.0))[1], 3),
                to_bits_per_s=round(data.get((name, "to"), (0, 0.0))[1] * 8, 1),
                from_bits_per_s=round(data.get((name, "from"), (0, 0.0))[1] * 8, 1),
                probes_missed=int(probes.get((name, "missed"), 0)),
            )
            for name, address, state, health in sorted(rows)
        )
