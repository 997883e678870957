"""The gap a listener sees when the caller's network or the load balancer changes, on real sockets.

Calls run over a link with a delay (25 ms each way by default); in the middle of each one thing happens. The
gap is the longest time between the arrivals of two uplink frames at the worker's session: an undisturbed call shows
20 ms, and the row `nothing happens` is the control. Frames lost are those the worker never received. A restarted
load balancer is down for as long as its process takes to start: that is a column of its own.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from bench.figures import percentile, save, summary, table
from bench.link import NatLink
from deploy.local.cluster import Cluster, ClusterOptions
from quiclb.net.address import parse_address
from voice_client import AudioOptions, ConnectionOptions, Security, VoiceClient
from voice_client.audio.source import PcmSource

CALL_S = 4.0
EVENT_AT_S = 1.5
RATE_HZ = 16_000
OLD_KEYS = {"load balancer SIGKILL and restart": "forwarder SIGKILL and restart"}
"""Events of `gaps.json` that had another name before, and are written under both."""

Event = Callable[[Cluster, NatLink, VoiceClient], Awaitable[float | None]]
"""Returns for how many ms nothing could be forwarded, where that is known."""


async def nothing(cluster: Cluster, link: NatLink, call: VoiceClient) -> None:
    """The control."""


async def rebinding(cluster: Cluster, link: NatLink, call: VoiceClient) -> None:
    link.rebind()


async def migration(cluster: Cluster, link: NatLink, call: VoiceClient) -> None:
    await call.migrate(local_address="127.0.0.3", keep_old_s=1.0)


async def hard_switch(cluster: Cluster, link: NatLink, call: VoiceClient) -> None:
    await call.migrate(local_address="127.0.0.3", keep_old_s=0.0)


async def balancer_restart(cluster: Cluster, link: NatLink, call: VoiceClient) -> float:
    loop = asyncio.get_running_loop()
    died_at = loop.time()
    await cluster.kill_balancer()
    await cluster.start_balancer()
    return (loop.time() - died_at) * 1000


EVENTS: list[tuple[str, Event, str]] = [
    ("nothing happens (control)", nothing, ""),
    ("NAT rebinding", rebinding, "25-31"),
    ("migration, old socket kept 1 s", migration, "27-40"),
    ("migration, hard switch", hard_switch, "64-85 (stream 115-127)"),
    ("load balancer SIGKILL and restart", balancer_restart, ""),
]


async def one_call(cluster: Cluster, event: Event, delay_s: float) -> dict[str, Any]:
    """Place one call, let the event happen, and return what the worker says of its uplink."""
    async with NatLink(parse_address(cluster.addresses.listen), delay_s) as link:
        url = f"https://{link.address[0]}:{link.address[1]}/v1/voice"
        async with VoiceClient(
            url,
            security=Security(ca_file=cluster.ca_file),
            audio=AudioOptions(has_playback=False),
            connection=ConnectionOptions(local_address="127.0.0.2"),
            agent="echo",
        ) as call:
            speaking = asyncio.create_task(call.speak(PcmSource(noise(CALL_S))))
            await asyncio.sleep(EVENT_AT_S)
            down_ms = await event(cluster, link, call)
            await speaking
            await call.finish()
            session, sent = call.session, call.frames_sent
    uplink = next(each["uplink"] for each in await cluster.sessions() if each["id"] == session)
    return {"gap_ms": uplink["largest_gaps"][0]["gap_ms"], "lost": sent - uplink["frames"], "down_ms": down_ms}


def noise(seconds: float) -> bytes:
    """Audible noise, so that discontinuous transmission leaves no gaps of its own."""
    samples = np.random.default_rng(7).normal(0, 4000, int(seconds * RATE_HZ))
    return samples.clip(-32768, 32767).astype("<i2").tobytes()


async def measure(count: int, delay_s: float) -> None:
    rows, document = [], {}
    async with Cluster(ClusterOptions(agent="echo")) as cluster:
        for name, event, reference in EVENTS:
            calls = [await one_call(cluster, event, delay_s) for _ in range(count)]
            gaps, lost = summary([call["gap_ms"] for call in calls]), sum(call["lost"] for call in calls)
            down = [call["down_ms"] for call in calls if call["down_ms"] is not None]
            document[name] = {"gap_ms": gaps, "frames_lost": lost, "down_ms": down and summary(down)}
            if name in OLD_KEYS:
                document[OLD_KEYS[name]] = document[name]
            median_down = round(percentile(down, 50)) if down else ""
            rows.append([name, gaps["n"], gaps["median"], gaps["p99"], gaps["max"], median_down, lost, reference])
    title = f"Uplink gap, {2000 * delay_s:g} ms round trip, 20 ms frames\n\n"
    header = ["event", "n", "median ms", "p99 ms", "max ms", "down, median ms", "frames lost", "plain aioquic, range"]
    save("gaps", {"delay_s": delay_s, "events": document}, title + table(header, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20, help="calls for each event")
    parser.add_argument("--delay", type=float, default=0.025, metavar="SECONDS", help="of the link, one way")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.count, arguments.delay))


if __name__ == "__main__":
    main()
