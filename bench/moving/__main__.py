"""What a call loses when its caller's address changes: NAT rebinding, a new network, a tunnel of 5 s.

All ways talk at once over one emulated link (50 ms one way, a NAT before the caller). Callers learn of a new network,
and of nothing else, as from a telephone's system: the gateway's client then migrates, the others reconnect or restart
ICE. The gap is the longest time between two arrivals of frames at the server, less the 20 ms between frames; a frame is
lost where it never came, a session where the call did not go on.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from bench.figures import save, summary, table
from bench.peers.timing import FRAME_S, CallTimes
from bench.peers.ways import (
    Program,
    Way,
    available,
    caller,
    certificate,
    described,
    gateway,
    servers,
    webrtc,
    websocket,
)
from testbed.link import EmulatedLink, LinkPath
from testbed.simnet.links import Profile

ONE_WAY_S: Final = 0.05
EVENT_AT_S: Final = 2.0
TUNNEL_S: Final = 5.0
_AFTER_S: Final = 8.0
WAYS: Final = (
    gateway("gateway", 7_021, script="talk-reliable"),
    gateway("gateway, hybrid uplink", 7_022, script="talk-hybrid"),
    websocket("TLS WebSocket", 7_023),
    webrtc("WebRTC (pion)", 7_024),
)
Event = Callable[[EmulatedLink, Sequence[Program]], Awaitable[None]]


async def nothing(link: EmulatedLink, callers: Sequence[Program]) -> None:
    """The control."""


async def rebinding(link: EmulatedLink, callers: Sequence[Program]) -> None:
    link.rebind()


async def new_network(link: EmulatedLink, callers: Sequence[Program]) -> None:
    address = await link.change_network()
    for program in callers:
        program.tell(f"changed {address}")


async def tunnel(link: EmulatedLink, callers: Sequence[Program]) -> None:
    link.black_out(TUNNEL_S)


EVENTS: Final[dict[str, tuple[Event, float]]] = {
    "nothing (control)": (nothing, 0.0),
    "NAT rebinding": (rebinding, 0.0),
    "new network": (new_network, 0.0),
    "tunnel of 5 s": (tunnel, TUNNEL_S),
}
"""And for how long the event itself lasts, in seconds."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What one call lost; `gap_ms` is the longest wait for a frame beyond the 20 ms between frames."""

    gap_ms: float
    frames: int
    sessions: int
    sent: int


def loss_of(call: CallTimes, arrived: dict[int, float], calls_at_server: int, event_at: float = 0.0) -> Loss:
    """Compare what was sent with what arrived; a session is lost where frames of its last second never came.

    Gaps that were over before the event are those of programs that begin, and do not count.
    """
    times = sorted(arrived.values())
    last = call.sent[-50:]
    went_on = any(sequence in arrived for sequence, _ in last)
    if not went_on:
        times.append(max(call.sent[-1][1], *times[-1:]))  # the gap lasts to the end
    gap_s = max((after - before for before, after in pairwise(times) if after > event_at), default=0.0)
    return Loss(
        gap_ms=max(0.0, 1000 * (gap_s - FRAME_S)),
        frames=len(call.sent) - sum(sequence in arrived for sequence, _ in call.sent),
        sessions=int(not went_on) + max(0, calls_at_server - 1),
        sent=len(call.sent),
    )


async def one_round(ways: Sequence[Way], event: Event, lasts_s: float, seed: int) -> dict[str, Loss]:
    """By way, what its call lost."""
    seconds = EVENT_AT_S + lasts_s + _AFTER_S
    path = LinkPath(Profile(delay_s=ONE_WAY_S, jitter_s=0.005), seed=seed)
    async with (
        certificate() as files,
        EmulatedLink(path, has_nat=True) as link,
        servers(link, ways, files) as running,
    ):
        callers = [await caller(link, way, files, "talk", seconds=seconds) for way in ways]
        for program in callers:
            await program.until("ready")
        await asyncio.sleep(EVENT_AT_S)
        event_at = time.monotonic()
        await event(link, callers)
        calls = [(await program.calls(seconds + 60))[0] for program in callers]
        arrived = [await server.frames() for server in running]
    return {
        way.name: loss_of(call, frames[0] if frames else {}, len(frames), event_at)
        for way, call, frames in zip(ways, calls, arrived, strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=5, help="by each way, for each event")
    parser.add_argument("--quick", action="store_true", help="one call a row")
    arguments = parser.parse_args()
    seeds = range(1, 2 if arguments.quick else 1 + arguments.calls)
    ways, missing = available(WAYS)
    document: dict[str, Any] = {}
    rows: list[list[object]] = []
    for name, (event, lasts_s) in EVENTS.items():
        rounds = [asyncio.run(one_round(ways, event, lasts_s, seed)) for seed in seeds]
        print(f"{name}: {len(rounds)} calls by each way", flush=True)
        document[name] = {}
        for way in ways:
            losses = [each[way.name] for each in rounds]
            gaps, frames = summary([each.gap_ms for each in losses]), [each.frames for each in losses]
            sessions = sum(each.sessions for each in losses)
            sent = sum(each.sent for each in losses)
            document[name][way.name] = {
                "gap_ms": gaps,
                "frames_lost": sum(frames),
                "frames_sent": sent,
                "sessions_lost": sessions,
            }
            rows.append(
                [name, way.name, len(losses), gaps["median"], gaps["max"], f"{sum(frames)} of {sent}", sessions]
            )
    header = ["event", "way", "n", "gap, median ms", "longest ms", "frames lost", "sessions lost"]
    how = {"is_quick": arguments.quick, "seeds": list(seeds), "peers": described(ways)}
    title = "Uplink of 20 ms frames whose caller's address changes, 50 ms one way\n\n"
    save("moving", {**how, "missing": missing, "events": document}, title + table(header, rows))


if __name__ == "__main__":
    main()
