"""What the runs say, as tables and as one JSON document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench.capacity.above_floor import above_floor, own_cost
from bench.capacity.layers import LAYERS
from bench.capacity.measure import Slope, Spread, Window
from bench.capacity.runs.alternation import ratios
from bench.capacity.runs.floor import MachineFloor
from bench.capacity.runs.handshakes import Handshaking
from bench.capacity.runs.memory import memory_slope
from bench.capacity.runs.pair import Pair
from bench.capacity.runs.profiling import Profile
from bench.capacity.runs.ramp import LATE_MS, Ramp
from bench.capacity.runs.survey import Survey
from bench.capacity.servers.server import Server
from bench.capacity.under_load import under_load
from bench.figures import table

HEADROOM = 0.7
"""How much of what a core can carry the sizing table uses: bursts of handshakes and resumes need the rest."""
SIZES = (1, 2, 4, 8, 16, 32)
QUIET = 0.05
"""With more than this share of the core taken by others, windows are not to be believed."""
MB = 1e6


@dataclass(slots=True)
class Findings:
    """Everything that was measured; what was not is empty or `None`."""

    sessions: int
    names: Sequence[str]
    windows: Sequence[Sequence[Window]]
    profiles: dict[str, Profile] = field(default_factory=dict)
    memory: Sequence[tuple[int, int]] = ()
    surveys: list[Survey] = field(default_factory=list)
    floor: MachineFloor | None = None
    missing: dict[str, str] = field(default_factory=dict)
    pair: Pair | None = None
    handshakes: Sequence[Sequence[Handshaking]] = ()
    """Of each of `names`, where two revisions are compared."""

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Findings:
        """What `capacity.json` has as `findings`; raises `msgspec.ValidationError` for what another version wrote."""
        return msgspec.convert(document, cls, strict=False, dec_hook=lambda kind, value: kind(value))

    @property
    def ramp(self) -> Ramp | None:
        """That of this tree's worker with codec and agent, the only server that answers whole utterances."""
        return next((each.ramp for each in self.surveys if not each.server.has_echo), None)


def markdown(found: Findings) -> str:
    """All tables."""
    parts = [
        f"Capacity of a worker, loopback, {found.sessions} sessions unless said otherwise. CPU is the server process's "
        "own (user and system time), its core is its own, the callers run on others. A session sends 20 ms of Opus, "
        "two fifths of the time voice, with DTX gaps, and four pings a second. n windows: median (least to most).",
        trust(found),
        _worker(found),
    ]
    parts += [_layers(name, each) for name, each in found.profiles.items()]
    parts += [_memory(found.memory)] if found.memory else []
    parts += [servers_table(found), under_load(found.surveys), _levels(found)] if found.surveys else []
    parts += [_pair(found.pair)] if found.pair else []
    sizing = sizing_rows(found)
    if sizing:
        header = ["cores (one worker each)", "sessions", "memory", "of it measured"]
        text = f"Sizing, {HEADROOM:.0%} of what was carried"
        parts.append(f"{text}\n\n{table(header, sizing)}")
    parts += [f"Missing: {name}: {reason}" for name, reason in found.missing.items()]
    return "\n\n".join(parts)


def trust(found: Findings) -> str:
    """Whether the machine was quiet enough for the figures."""
    windows = [one for each in found.windows for one in each]
    windows += [one for each in found.surveys for one in each.windows]
    windows += found.floor.windows if found.floor else ()
    busy = [one.others for one in windows]
    behind = max(one.callers.behind_ms.p99 for one in windows)
    cost = Spread.of([1000 * one.callers.cpu_s / one.callers.seconds / max(1, one.callers.sessions) for one in windows])
    verdict = "quiet" if max(busy) <= QUIET else "NOT QUIET: run it again on a machine without other work"
    return (
        f"The machine was {verdict}: others had {Spread.of(busy).median:.1%} of the server's core, {max(busy):.1%} at "
        f"most ({len(busy)} windows). The callers were {behind:.1f} ms late at p99 at most, and cost {cost.text()} ms "
        "of their own core per session and second."
    )


def _worker(found: Findings) -> str:
    rows = [
        [
            name,
            len(each),
            Spread.of([one.cpu_ms_per_session_s for one in each]).text(),
            Spread.of([one.us_per_frame for one in each]).text(0),
            Spread.of([100 * one.system_s / one.cpu_s for one in each if one.cpu_s]).text(0),
            Spread.of([one.callers.pong_ms.p99 for one in each]).text(1),
        ]
        for name, each in zip(found.names, found.windows, strict=True)
    ]
    header = [
        "worker, echo agent",
        "n",
        "CPU ms per session and second",
        "CPU us per frame",
        "of it system, %",
        "pongs, p99 ms",
    ]
    text = f"What a session costs\n\n{table(header, rows)}"
    if len(found.windows) == 2:
        spread = ratios(found.windows[0], found.windows[1])
        which = f"{found.names[0]} by {found.names[1]}"
        text += f"\n\n{which}, in alternating windows: **{spread.text(3)}**, n = {spread.n} pairs"
    for name, each in zip(found.names, found.handshakes, strict=False):
        rates = Spread.of([one.per_core_s for one in each])
        text += f"\n\n{name}: {rates.text(0)} handshakes per second of CPU, n = {rates.n}"
    if len(found.handshakes) == 2:
        gain = Spread.of([new.per_core_s / old.per_core_s for new, old in zip(*found.handshakes, strict=True)])
        text += f"; {found.names[0]} by {found.names[1]}: **{gain.text(3)}**, n = {gain.n} pairs"
    return text


def _layers(name: str, profile: Profile) -> str:
    total = sum(profile.samples.values())
    if not total:
        return f"Where the main thread of {name} spends its time: py-spy could not attach"
    window = profile.window
    rows = []
    for layer in LAYERS:
        share = profile.samples[layer] / total
        error = math.sqrt(share * (1 - share) / total)
        cost, frame = window.cpu_ms_per_session_s, window.us_per_frame
        rows.append([layer, f"{share:.1%} ± {error:.1%}", f"{share * cost:.2f}", f"{share * frame:.0f}"])
    rows.append(["all", f"n = {total} samples", f"{window.cpu_ms_per_session_s:.2f}", f"{window.us_per_frame:.0f}"])
    header = ["layer", "share of the main thread", "ms per session and second", "us per frame, up or down"]
    return (
        f"Where the main thread of {name} spends its time, {window.callers.sessions} sessions, "
        f"profiled after the window\n\n{table(header, rows)}"
    )


def _memory(points: Sequence[tuple[int, int]]) -> str:
    slope = memory_slope(points)
    rows = [[sessions, f"{resident / MB:.1f}"] for sessions, resident in points]
    return (
        f"Memory: **{slope.per_x / 1000:.0f} ± {slope.error / 1000:.0f} KB per session** (slope of {slope.n} points, "
        f"standard error), sessions that speak a tenth of the time\n\n{table(['sessions', 'resident MB'], rows)}"
    )


def servers_table(found: Findings) -> str:
    """Cost, lateness, handshakes, sessions and memory of each server, and how they are counted."""
    rows: list[list[object]] = []
    for each in found.surveys:
        costs = each.cost
        rows.append(
            [
                _server(each, found.sessions),
                f"{costs.text()}, n = {costs.n}",
                own_cost(costs, found.floor.cost).text() if found.floor else "not measured",
                Spread.of([one.us_per_frame for one in each.windows]).text(0),
                _late(each.server, each.windows),
                f"{each.silence.cpu_ms_per_session_s:.2f}",
                f"{each.handshakes.per_core_s:.0f} (n = {each.handshakes.callers.completed})",
                _carried(each.ramp),
                _kilobytes(each),
                _callers(each.windows),
            ]
        )
    if found.floor:
        rows.append(_floor(found.floor))
    header = [
        "server",
        "CPU ms per session and second",
        "of it above the floor",
        "us per frame",
        "late, p99 ms (n)",
        "silent session, ms",
        "handshakes per second of CPU",
        "sessions a core",
        "KB per session",
        "its callers: ms per session and second, late at p99",
    ]
    note = (
        "All but the first echo frames, without codec and agent unless it says so; the first one's lateness is that of "
        "pongs. A frame that was encoded anew is late until its last sample is back. "
        f"A core is full where p99 reaches {LATE_MS:g} ms twice in succession{_allowances(found)}. "
        "Memory is the slope over the ramp, or else what the process grew by from the end of a first call, by sessions."
    )
    parts = ["Beside other servers, same run", table(header, rows), note]
    return "\n\n".join([*parts, above_floor(found.surveys, found.floor)] if found.floor else parts)


def _floor(floor: MachineFloor) -> list[object]:
    """What a server costs that does nothing but echo datagrams: it has no handshake, and no session to remember."""
    cost, windows = floor.cost, floor.windows
    return [
        f"the floor: {floor.server.name}",
        f"{cost.text()}, n = {cost.n}",
        "0",
        Spread.of([one.us_per_frame for one in windows]).text(0),
        _late(floor.server, windows),
        f"{Spread.of([one.cpu_ms_per_session_s for one in floor.silences]).median:.2f}",
        "none",
        "not measured",
        "none",
        _callers(windows),
    ]


def _late(server: Server, windows: Sequence[Window]) -> str:
    seen = [one.callers.echo_ms if server.has_echo else one.callers.pong_ms for one in windows]
    return f"{Spread.of([each.p99 for each in seen]).text(1)} ({sum(each.n for each in seen)})"


def _carried(ramp: Ramp | None) -> str:
    if ramp is None:
        return "not measured"
    if ramp.at_most is None:
        return f"over {ramp.carried}"
    return f"{ramp.carried} to {ramp.at_most}" if ramp.carried else f"under {ramp.at_most}"


def ramp_slope(ramp: Ramp) -> Slope | None:
    """Bytes per session over the levels that were carried; `None` for fewer than three."""
    points = [(float(each.sessions), float(each.window.resident_bytes)) for each in ramp.levels if each.fault is None]
    return Slope.of(points) if len(points) >= 3 else None


def _allowances(found: Findings) -> str:
    """The servers that may be later, as encoding anew takes time by itself."""
    servers = [each.server for each in found.surveys if each.server.delay_ms]
    return "".join(f" ({each.name}: {LATE_MS + each.delay_ms:g} ms)" for each in servers)


def _server(survey: Survey, sessions: int) -> str:
    """Name, version, and how many sessions its windows had where those were fewer than in the others'."""
    had = max(each.callers.sessions for each in survey.windows)
    fewer = f", {had} sessions" if had < sessions else ""
    return f"{survey.server.name} {survey.server.version}".strip() + fewer


def _kilobytes(survey: Survey) -> str:
    slope = ramp_slope(survey.ramp) if survey.ramp else None
    if slope:
        return f"{slope.per_x / 1000:.0f} ± {slope.error / 1000:.0f} (n = {slope.n})"
    last = survey.windows[-1]
    return f"{(last.resident_bytes - survey.idle_bytes) / 1000 / max(1, last.callers.sessions):.0f} from idle"


def _callers(windows: Sequence[Window]) -> str:
    costs = [1000 * one.callers.cpu_s / one.callers.seconds / max(1, one.callers.sessions) for one in windows]
    behind = max(one.callers.behind_ms.p99 for one in windows)
    return f"{Spread.of(costs).median:.2f}, {behind:.1f} ms"


def _levels(found: Findings) -> str:
    rows = [
        [
            each.server.name,
            level.sessions,
            f"{level.late.median:.1f}",
            f"{level.late.p99:.1f}",
            level.late.n,
            f"{level.window.cpu_s / level.window.callers.seconds:.0%}",
            level.fault or "carried",
        ]
        for each in found.surveys
        if each.ramp
        for level in each.ramp.levels
    ]
    return "The ramps\n\n" + table(["server", "sessions", "median ms", "p99 ms", "n", "of its core", ""], rows)


def _pair(pair: Pair) -> str:
    rows = []
    for level in pair.levels:
        seen = [each.callers for each in level.windows]
        rows.append(
            [
                2 * level.sessions_each,
                " / ".join(f"{each.cpu_s / each.callers.seconds:.0%}" for each in level.windows),
                f"{sum(each.cpu_s / each.seconds for each in seen):.0%}",
                " / ".join(f"{each.pong_ms.p99:.1f}" for each in seen),
                level.fault or "carried",
            ]
        )
    header = ["sessions, both", "of each worker's core", "callers' CPU, of a core", "pongs, p99 ms", ""]
    where = (
        "The callers ran on the same two cores, as there are no others: the number is a lower bound."
        if pair.shares_cores
        else "The callers ran on other cores."
    )
    spread = pair.slowdown
    return (
        f"Two workers on two cores: {pair.carried} sessions together. {where} A session costs **{spread.text(3)}** "
        f"times as much CPU beside a second loaded worker as alone, n = {spread.n}\n\n{table(header, rows)}"
    )


def sizing_rows(found: Findings) -> list[list[object]]:
    """Sessions and memory by cores, from what one core carried, what a neighbour costs, and the slope of memory."""
    ramp = found.ramp
    if ramp is None or not ramp.carried or not found.memory:
        return []
    slope = memory_slope(found.memory)
    first_sessions, first_bytes = found.memory[0]
    base = first_bytes - slope.per_x * first_sessions
    slowdown = max(1.0, found.pair.slowdown.median) if found.pair else 1.0
    rows: list[list[object]] = []
    for cores in SIZES:
        per_core = HEADROOM * ramp.carried / (slowdown if cores > 1 else 1.0)
        sessions = int(per_core) * cores
        megabytes = (base * cores + slope.per_x * sessions) / MB
        rows.append([cores, sessions, f"{megabytes:.0f} MB", _evidence(cores, found.pair)])
    return rows


def _evidence(cores: int, pair: Pair | None) -> str:
    if cores == 1:
        return "the ramp of one worker"
    if cores == 2 and pair:
        return f"{pair.carried} carried in all" + (", callers on the same cores" if pair.shares_cores else "")
    return "computed: workers share nothing but the machine"
