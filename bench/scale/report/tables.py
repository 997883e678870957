"""The study as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from bench.figures import table
from bench.scale.checks.comparison import Check
from bench.scale.inputs import Figures
from bench.scale.model.storms import Storm
from bench.scale.study import Study


def markdown(study: Study, figures: Figures, checks: Sequence[Check], missing: Sequence[str]) -> str:
    """All tables, the answer to each question under its own heading."""
    parts = [
        "# The system at scale: a model of measured figures",
        _inputs(figures),
        _checks(checks),
        *(f"Not checked: {each}" for each in missing),
        _limits(study),
        _tables(study),
        _spread(study),
        _storms(study),
        _updates(study),
        _agents(study),
        _costs(study),
    ]
    return "\n\n".join(parts)


def _inputs(figures: Figures) -> str:
    rows = [[name, f"{each.value:g}", each.unit, f"`{each.command}`"] for name, each in figures.all.items()]
    return "## Figures\n\n" + table(["figure", "value", "of", "command"], rows)


def _checks(checks: Sequence[Check]) -> str:
    rows = [[c.what, f"{c.model:.3g}", f"{c.found:.3g}", f"{c.error:+.1%}", _allowed(c), c.n, c.note] for c in checks]
    return "## Checks\n\n" + table(["what", "model", "found", "error of the model", "allowed", "n", "note"], rows)


def _allowed(check: Check) -> str:
    if check.within is None:
        return "reported only"
    return f"{check.within:.0%}" if check.holds else f"{check.within:.0%}: FAILS"


def _limits(study: Study) -> str:
    rows = [
        [each.resource, each.unit, f"{each.sessions_per_unit:,.0f}", f"{each.units_planned:,}"]
        for each in study.limits
    ]  # fmt: skip
    session = study.session
    return (
        f"## What breaks first\n\nA session saves {session.saves_per_s:.2f} times a second a record of "
        f"{session.record_bytes / 1000:.1f} KB, and is {session.datagrams_per_s:.0f} datagrams a second, both ways.\n\n"
        + table(["resource", "unit", "sessions until it is full", "units for the planned installation"], rows)
    )


def _tables(study: Study) -> str:
    rows = [[e.backends, f"{e.least:.3f}", f"{e.most:.3f}", f"{e.spread:.2%}"] for e in study.evenness]
    changes = [
        [d.backends, d.change, f"{d.slots_moved:.2%}", f"{d.unavoidable:.2%}", f"{d.beside:.2%}"]
        for d in study.disruption
    ]  # fmt: skip
    left, joined = study.routed
    return (
        "## The fallback table\n\n"
        + table(["workers", "fewest new connections, by the mean", "most", "standard deviation"], rows)
        + "\n\n"
        + table(["workers", "change", "slots that change", "unavoidable", "beside it"], changes)
        + f"\n\nLive calls, routed by their connection IDs: when one of 100 workers left, {left.moved} of "
        f"{left.own + left.moved} calls at the others were moved ({left.of_lost} had the one that left); when ten "
        f"joined 100, {joined.moved} of {joined.own + joined.moved}."
    )


def _spread(study: Study) -> str:
    rows = [
        [s.workers, s.way, f"{s.mean:.0f}", f"{s.deviation:.1f}", f"{s.p99:.0f}", s.most, f"{s.over:.2%}"]
        for s in study.spreads
    ]  # fmt: skip
    room = [[f"{s.mean / study.session.worker.full:.0%}", s.way, s.most, f"{s.over:.2%}"] for s in study.headroom]
    return (
        "## Hot spots\n\n"
        + table(["workers", "placed by", "mean", "deviation", "p99", "most", "workers beyond a full core"], rows)
        + "\n\n"
        + table(["planned, by a full core", "placed by", "most sessions", "workers beyond a full core"], room)
    )


_STORM = (
    "lost", "sessions", "back", "attempts", "wasted handshakes", "most a second", "median s", "p99 s", "longest s",
    "media late by ms", "use before", "use after", "most", "cores overloaded",
)  # fmt: skip


def _storm(name: str, storm: Storm) -> list[str]:
    late = "more and more" if storm.late_in_storm_s is None else f"{1000 * storm.late_in_storm_s:.0f}"
    return [
        name, f"{storm.lost_sessions:,}", f"{storm.returned / max(1, storm.lost_sessions):.1%}", f"{storm.attempts:,}",
        f"{storm.wasted_handshakes:,}", f"{storm.peak_handshakes_per_s:,}", f"{storm.median_s:.2f}",
        f"{storm.p99_s:.2f}", f"{storm.longest_s:.2f}", late, f"{storm.use_before:.0%}", f"{storm.use_after:.0%}",
        f"{storm.most_use_after:.0%}", f"{storm.overloaded_share:.1%}",
    ]  # fmt: skip


def _storms(study: Study) -> str:
    whole = study.installation
    rows = [_storm(f"one of {whole.sites} sites, {whole.sessions:,} sessions in all", study.whole)]
    rows += [_storm(f"{each.storm.what} ({each.workers})", each.storm) for each in study.hosts]
    losses = [_storm(f"{each.storm.what}, {each.share:.0%} planned", each.storm) for each in study.losses]
    return f"## Failures\n\n{table(_STORM, rows)}\n\n{table(_STORM, losses)}"


def _updates(study: Study) -> str:
    rows = [
        [
            f"{u.batch_share:.0%}", f"{u.pause_s:.0f}", f"{u.seconds / 60:.0f}", f"{u.moves_mean:.2f}", u.moves_most,
            f"{u.handshakes_per_s:.0f}", f"{u.mean_use:.0%}", u.most_sessions, f"{u.most_use:.0%}",
        ]
        for u in study.updates
    ]  # fmt: skip
    header = [
        "drain at a time", "s between", "minutes", "moves by sessions", "most of one call", "handshakes a second",
        "mean use", "most sessions", "most use",
    ]  # fmt: skip
    return f"## Rolling update of one site\n\n{table(header, rows)}"


def _agents(study: Study) -> str:
    rows = [
        [f"{a.agent_ms:g}", f"{a.sessions_per_worker:.0f}", f"{a.cores_in_worker:.1f}", f"{a.cores_with_hosts:.1f}"]
        for a in study.agents
    ]  # fmt: skip
    header = ["agent's CPU, ms a session and second", "planned sessions a worker, agent in it",
              "cores for 1,000, in the worker", "with agent hosts"]  # fmt: skip
    return f"## Agents in the worker or in hosts\n\n{table(header, rows)}"


def _costs(study: Study) -> str:
    rows = [
        [
            c.name, f"{c.cores:.1f}", f"{c.compute_usd:.2f}",
            "not published" if c.egress_usd is None else f"{c.egress_usd:.2f}", c.does, c.source,
        ]
        for c in study.costs
    ]  # fmt: skip
    header = ["what", "cores for 1,000 calls at a time", "USD an hour", "USD an hour for data out", "does", "source"]
    return f"## Cost\n\n{table(header, rows)}"
