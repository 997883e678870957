"""What calls lose when their clients move, their load balancer is killed or gets a backend, and Redis is away.

quiclb in front of the gateway, beside a router that looks ICE username fragments up in Redis, in front of pion. The
same calls meet all events, one after the other, over a link of 25 ms one way on loopback. The gap is a caller's longest
wait for a frame of the echo. Callers of pion restart ICE 1 s after the last echo. Memory is measured apart.

The router does what media relays are documented to do. The first binding request of an address is looked up, what was
looked up by username fragment is remembered, and with flows in Redis a restarted router binds the ports that backends
know. A router whose fragments name their backend, as quiclb's connection IDs do, would need no Redis to find it.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.figures import save, summary, table
from bench.peers.timing import CallTimes
from bench.peers.ways import PeerMissingError, build_pion, build_router
from bench.routing.events import EVENTS, Window, happen, loss_of, restart
from bench.routing.implementations import ONE_WAY_S, Implementation, implementations, running
from bench.routing.memory import remember

CALLS = 16
_SETTLES_S = 2.0
"""Between the last call's answer and the first event: programs begin."""
_MOST_S = 300.0
_RESULT_S = 30.0


async def hold(implementation: Implementation, count: int) -> tuple[list[Window], list[CallTimes]]:
    """Place the calls, let everything happen to them, and return when each thing did and what the callers saw."""
    async with running(implementation) as site:
        callers = await site.call(count, _MOST_S)
        try:
            for _ in range(count):
                await callers.until("ready")
            await asyncio.sleep(_SETTLES_S)
            windows = await happen(site)
            callers.tell("end")
            return windows, await callers.calls(_RESULT_S)
        finally:
            await callers.stop()


def figures(windows: Sequence[Window], calls: Sequence[CallTimes]) -> dict[str, Any]:
    """By event: calls kept, the gap, and how long the event itself took."""
    found = {}
    for window in windows:
        losses = [loss_of(call, window) for call in calls]
        found[window.event.name] = {
            "calls": len(losses),
            "kept": sum(each.is_kept for each in losses),
            "gap_ms": summary([each.gap_ms for each in losses]),
            "took_ms": round(1000 * window.took),
            "is_restart": window.event.happen is restart,
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=CALLS, help="at once, through each load balancer")
    parser.add_argument("--only", default="", help="implementations whose name holds this")
    arguments = parser.parse_args()
    missing: dict[str, str] = {}
    taking_part = implementations()
    try:
        build_pion()
        build_router()
    except PeerMissingError as error:
        missing = {each.name: str(error) for each in taking_part if each.is_saving_flows is not None}
    document: dict[str, Any] = {}
    for each in taking_part:
        if each.name in missing or arguments.only not in each.name:
            continue
        events = figures(*asyncio.run(hold(each, arguments.calls)))
        memory = remember(each)
        per_address = {"bytes": round(memory.bytes_per_address), "sockets": round(memory.sockets_per_address, 2)}
        document[each.name] = {**asdict(each), "events": events, "memory": {**asdict(memory), **per_address}}
        print(f"{each.name}: {arguments.calls} calls", flush=True)
    how = {"calls": arguments.calls, "one_way_ms": 1000 * ONE_WAY_S, "missing": missing}
    save("routing", {**how, "implementations": document}, _text(document, arguments.calls))


def _text(document: dict[str, Any], calls: int) -> str:
    rows = [
        [event.name, name, f"{found['kept']} of {found['calls']}", *_gaps(found), found["took_ms"]]
        for event in EVENTS
        for name, each in document.items()
        for found in [each["events"][event.name]]
    ]
    header = ["event", "load balancer", "calls kept", "gap, median ms", "p99 ms", "the event took, ms"]
    memory = [
        [name, each["kept"], f"{each['memory']['addresses']:,}", each["memory"]["bytes"], each["memory"]["sockets"]]
        for name, each in document.items()
    ]
    columns = ["load balancer", "remembers", "client addresses", "resident bytes per address", "sockets per address"]
    title = (
        f"The same n = {calls} calls meet all events, {1000 * ONE_WAY_S:g} ms one way, loopback; gap: longest wait for "
        "a 20 ms frame of the echo"
    )
    return f"{title}\n\n{table(header, rows)}\n\n{table(columns, memory)}"


def _gaps(found: dict[str, Any]) -> list[object]:
    return [found["gap_ms"]["median"], found["gap_ms"]["p99"]]


if __name__ == "__main__":
    main()
