"""How much of a server's CPU is the machine's, as the floor has it, and how much is its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.capacity.measure import Spread, Window
from bench.capacity.runs.floor import MachineFloor
from bench.capacity.runs.survey import Survey
from bench.figures import table

_HEADER = (
    "server",
    "CPU ms per session and second",
    "above the floor",
    "ours by it, whole",
    "ours by it, above the floor",
    "datagrams in / out per frame",
    "bytes of a datagram in / out",
    "waits per frame",
)
_NOTE = (
    "The floor is a server in C that receives each datagram and sends it back: no TLS, no QUIC, no timers, two "
    "system calls. Its callers send as many datagrams, as large and at the same times, as those of a QUIC call. Its "
    "CPU is that of waking a core and of `sendto`, which wakes the caller: the machine's part of every server's "
    "figure. What is above it is the server's own, also datagrams and waits beyond the floor's; its range is from "
    "the server's least window less the floor's most to its most less the floor's least. A busier server is woken "
    "less often, so that its own part is somewhat more than stated. From servers over TCP and WebRTC the same floor "
    "is subtracted, though their packets are not the same. Frames are those that callers sent, datagrams what the "
    "project's own callers count over UDP, waits the voluntary context switches of a server's threads, ratios those "
    "of medians."
)


def own_cost(cost: Spread, floor: Spread) -> Spread:
    """What is above the floor: the difference of the medians, and the widest range that both ranges allow."""
    return Spread(min(cost.n, floor.n), cost.median - floor.median, cost.least - floor.most, cost.most - floor.least)


def above_floor(surveys: Sequence[Survey], floor: MachineFloor) -> str:
    """A row for each server, then the floor's, and in words what our worker needs beside each of the others."""
    ours = next((each for each in surveys if _is_ours(each)), None)
    rows = [_row(each, floor, ours) for each in surveys]
    traffic = _traffic(floor.windows)
    rows.append([floor.server.name, f"{floor.cost.text()}, n = {floor.cost.n}", "0", "", "", *traffic])
    parts = ["The machine's part, and the server's own", table(_HEADER, rows), _NOTE]
    if ours:
        parts.append("\n".join(f"- {each}" for each in _sentences(surveys, ours, floor.cost)))
    return "\n\n".join(parts)


def _row(survey: Survey, floor: MachineFloor, ours: Survey | None) -> list[object]:
    cost = survey.cost
    own = own_cost(cost, floor.cost)
    row: list[object] = [survey.server.name, f"{cost.text()}, n = {cost.n}", own.text()]
    if ours is None or survey.server.protocol == ours.server.protocol:
        row += ["", ""]
    else:
        ratio = own_ratio(ours.cost, cost, floor.cost)
        row += [f"{ours.cost.median / cost.median:.2f}", "not distinguished" if ratio is None else f"{ratio:.2f}"]
    return [*row, *_traffic(survey.windows)]


def own_ratio(ours: Spread, other: Spread, floor: Spread) -> float | None:
    """Return ours by the other, above the floor; `None` where the range of either is not wholly above it."""
    mine, others = own_cost(ours, floor), own_cost(other, floor)
    return mine.median / others.median if min(mine.least, others.least) > 0 else None


def _sentences(surveys: Sequence[Survey], ours: Survey, floor: Spread) -> Iterator[str]:
    for each in surveys:
        if each.server.protocol == ours.server.protocol:
            continue
        whole, above = ours.cost.median / each.cost.median, own_ratio(ours.cost, each.cost, floor)
        text = f"{ours.server.name}, beside {each.server.name}: {whole:.2f} times its CPU"
        if above is None:
            yield f"{text}; above the floor not distinguished, as a range reaches down to the floor's"
        else:
            trend = "worse" if above > whole else "better"
            yield f"{text}, {above:.2f} times above the floor, where ours looks {trend}"


def _is_ours(survey: Survey) -> bool:
    """Whether this is our worker without codec and agent, as the others are."""
    return survey.server.protocol == "voice" and survey.server.has_echo


def _traffic(windows: Sequence[Window]) -> list[str]:
    frames = sum(each.callers.frames_sent for each in windows)
    waits = [each.waits for each in windows if each.waits is not None]
    known = [each.callers.datagrams for each in windows if each.callers.datagrams is not None]
    cells = ["", "", f"{sum(waits) / frames:.2f}" if frames and len(waits) == len(windows) else ""]
    if frames and known and len(known) == len(windows):
        sent, received = sum(each.sent for each in known), sum(each.received for each in known)
        sizes = [
            f"{sum(each.sent_bytes for each in known) / max(1, sent):.0f}",
            f"{sum(each.received_bytes for each in known) / max(1, received):.0f}",
        ]
        cells[:2] = [f"{sent / frames:.2f} / {received / frames:.2f}", " / ".join(sizes)]
    return cells
