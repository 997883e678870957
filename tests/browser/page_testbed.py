"""What the browser tests share: a cluster, the way to it, and the checks of a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from deploy.local.cluster import Cluster, ClusterOptions
from deploy.local.incidents import Incidents
from testbed.ports import free_port
from tests.browser.path import LossyRelay, path_to

TOKEN = "sesame"
ORDER = ["Taro milk tea", "large, oat milk, 75 % sugar", "Matcha latte"]
WORDS = ("taro", "oat", "seventy five", "matcha latte")


@dataclass(frozen=True, slots=True)
class PageTestbed:
    """A cluster whose page calls through `path`."""

    cluster: Cluster
    path: LossyRelay

    @property
    def url(self) -> str:
        return self.cluster.page_url

    @property
    def server(self) -> tuple[str, int]:
        """Where the load balancer is."""
        host, port = self.cluster.addresses.listen.split(":")
        return host, int(port)

    async def session(self, session: str) -> dict[str, Any]:
        """What the worker that has or had the session last says of it."""
        found = [each for each in await self.cluster.sessions() if each["id"] == session]
        return max(found, key=lambda each: (each["close_code"] is None, each["revision"]))

    async def migrated(self, session: str, count: int) -> None:
        """Wait until the worker has seen the session come from so many other addresses."""
        async with asyncio.timeout(20):
            while len((await self.session(session))["migrations"]) < count:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.02)

    async def worker_index(self, name: str) -> int:
        return int(name.rpartition("-")[2]) - 1


@asynccontextmanager
async def page_testbed() -> AsyncIterator[PageTestbed]:
    async with path_to(("127.0.0.1", 0)) as path:
        page_port = free_port(also=1)
        demo_port = page_port + 1
        options = ClusterOptions(
            token=TOKEN,
            has_page=True,
            page_port=page_port,
            page_calls=f"127.0.0.1:{path.port}",
            demo_port=demo_port,
            drain_timeout_s=0.2,
        )
        async with Cluster(options) as cluster, Incidents(cluster, demo_port, away_s=1.0):
            testbed = PageTestbed(cluster, path)
            path.relay_to(testbed.server)
            yield testbed


def lost(items: list[str], ended: dict[str, Any] | None, said: str) -> list[str]:
    """A sentence for each thing a call has lost; none for a call that lost nothing."""
    faults = [f"the receipt lacks {part!r}: {items}, of: {said}" for part in ORDER if part not in " | ".join(items)]
    if len(items) != 2:
        faults.append(f"the receipt has {len(items)} lines: {items}")
    faults += [f"the transcript lacks {word!r}: {said}" for word in lacking(said)]
    if ended is None:
        return [*faults, "the call did not end well"]
    if not ended["isFinished"] or ended["sent"] != ended["acked"]:
        faults.append(f"{ended['sent']} frames were sent, {ended['acked']} were acked")
    return faults


def lacking(said: str) -> list[str]:
    """The words of the order that were not said."""
    return [word for word in WORDS if word not in said]
