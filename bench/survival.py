"""What a call loses when something dies: its words, its frames, and for how long it is not heard.

Each call orders what the recorded caller of the demonstration orders, through the load balancer, over a link of 25 ms
each way; in the middle of its first sentence one thing happens. The gap of a call that was resumed is the time from the
last acknowledgement until the server was ready again, by the caller's clock; of any other call it is the longest time
between two uplink frames at the worker, which is 20 ms where nothing happens. Frames lost are those never heard, items
lost those missing from the order. The control has no shared store: it must lose.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import save, summary, table
from bench.link import NatLink
from client import ClientError, Resumed, VoiceClient
from deploy.local.cluster import Cluster, ClusterOptions
from deploy.local.judgement import expected_order, named
from deploy.local.story import RECORDING, middle_of


@dataclass(slots=True)
class Scene:
    """A call and what may happen to it."""

    cluster: Cluster
    link: NatLink
    call: VoiceClient
    restarting: asyncio.Task[None] | None = None

    @property
    def worker(self) -> int:
        return int((self.call.worker or "").removeprefix("worker-")) - 1


Event = Callable[[Scene], Awaitable[None]]


async def nothing(scene: Scene) -> None:
    """The undisturbed call."""


async def rebinding(scene: Scene) -> None:
    scene.link.rebind()


async def migration(scene: Scene) -> None:
    await scene.call.migrate(local_address="127.0.0.3", keep_old_s=0.0)


async def forwarder_kill(scene: Scene) -> None:
    await scene.cluster.kill_forwarder()
    await scene.cluster.start_forwarder()


def blackout(duration_s: float) -> Event:
    async def black_out(scene: Scene) -> None:
        scene.link.is_black = True
        await asyncio.sleep(duration_s)
        scene.link.is_black = False

    return black_out


async def new_address(scene: Scene) -> None:
    """The path dies for good, as a browser's does when its interface changes: a new connection from elsewhere."""
    scene.link.cut()


async def worker_kill(scene: Scene) -> None:
    worker = scene.worker
    await scene.cluster.kill_worker(worker)
    scene.restarting = asyncio.create_task(scene.cluster.start_worker(worker))


async def drain(scene: Scene) -> None:
    worker = scene.worker
    await scene.cluster.terminate_worker(worker)
    scene.restarting = asyncio.create_task(scene.cluster.start_worker(worker))


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    store: str
    event: Event


ROWS = [
    Row("nothing happens", "sqlite", nothing),
    Row("NAT rebinding", "sqlite", rebinding),
    Row("active migration, hard switch", "sqlite", migration),
    Row("load balancer SIGKILL and restart", "sqlite", forwarder_kill),
    Row("blackout of 2 s", "sqlite", blackout(2.0)),
    Row("blackout of 10 s", "sqlite", blackout(10.0)),
    Row("new address, new connection", "sqlite", new_address),
    Row("worker SIGKILL, SQLite", "sqlite", worker_kill),
    Row("worker drained", "sqlite", drain),
    Row("worker SIGKILL, Redis", "redis", worker_kill),
    Row("control: worker SIGKILL, memory", "memory", worker_kill),
]


async def one_call(cluster: Cluster, event: Event, delay_s: float) -> dict[str, Any]:
    """Place one call, let the event happen, and return what came of it."""
    host, port = cluster.addresses.listen.rsplit(":", 1)
    async with NatLink((host, int(port)), delay_s) as link:
        url = f"https://{link.address[0]}:{link.address[1]}/v1/voice"
        client = VoiceClient(url, ca_file=cluster.ca_file, local_address="127.0.0.2", has_playback=False)
        scene = Scene(cluster, link, client)
        try:
            async with client as call:
                speaking = asyncio.create_task(call.speak(RECORDING))
                await asyncio.sleep(middle_of("first_sentence"))
                await event(scene)
                await speaking
                await call.finish()
        except ClientError as error:
            print(f"  {error}")
        report = client.report()
        resumed = [event async for event in client.events() if isinstance(event, Resumed)]
        gaps_ms = [each.gap_ms for each in resumed] or await uplink_gaps_ms(cluster, report.session)
        if scene.restarting is not None:
            await scene.restarting
    items = report.state.get("items", [])
    right = [named(item, like) == like for item, like in zip(items, expected_order(), strict=False)]
    return {
        "gap_ms": max(gaps_ms, default=None),
        "frames_lost": report.frames_sent - report.frames_heard,
        "items_lost": len(expected_order()) - sum(right),
        "is_order_kept": right == [True] * len(expected_order()) and len(items) == len(right),
    }


async def uplink_gaps_ms(cluster: Cluster, session: str | None) -> list[float]:
    """The longest gaps between frames that the session's worker saw; none where that worker is gone."""
    try:
        sessions = await cluster.sessions()
    except OSError:
        return []
    return [gap["gap_ms"] for each in sessions if each["id"] == session for gap in each["uplink"]["largest_gaps"]]


async def measure(count: int, delay_s: float) -> bool:
    rows, document = [], {}
    for store in ("sqlite", "redis", "memory"):
        async with serving_store(store) as url, Cluster(ClusterOptions(store=url)) as cluster:
            for row in (row for row in ROWS if row.store == store):
                calls = [await one_call(cluster, row.event, delay_s) for _ in range(count)]
                known = [call["gap_ms"] for call in calls if call["gap_ms"] is not None]
                gaps = summary(known) if known else {"n": 0, "median": "-", "p99": "-"}
                frames, items = (sum(call[key] for call in calls) for key in ("frames_lost", "items_lost"))
                kept = sum(call["is_order_kept"] for call in calls)
                document[row.name] = {"calls": calls}
                rows.append([row.name, count, gaps["median"], gaps["p99"], frames, items, f"{kept} of {count}"])
                print(rows[-1], flush=True)
    title = f"What calls lose, {2000 * delay_s:g} ms round trip\n\n"
    header = ["event", "n", "gap median ms", "gap p99 ms", "frames lost", "items lost", "order kept"]
    save("survival", {"delay_s": delay_s, "events": document}, title + table(header, rows))
    *served, control = rows
    return all(row[4] == row[5] == 0 for row in served) and control[4] > 0


@asynccontextmanager
async def serving_store(kind: str) -> AsyncIterator[str | None]:
    """The address of a store; a Redis is started for it."""
    if kind != "redis":
        yield "memory://" if kind == "memory" else None
        return
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise SystemExit("bench-survival needs redis-server; on Debian: apt-get install redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(Path(folder)), "--save", ""]
        server = await asyncio.create_subprocess_exec(program, *options, stdout=asyncio.subprocess.DEVNULL)
        try:
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()
            await server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10, help="calls for each event")
    parser.add_argument("--delay", type=float, default=0.025, metavar="SECONDS", help="of the link, one way")
    arguments = parser.parse_args()
    if not asyncio.run(measure(arguments.count, arguments.delay)):
        raise SystemExit("a call lost something that it must not lose, or the control lost nothing")


if __name__ == "__main__":
    main()
