"""What the page's buttons do to the local cluster: a worker dies as by `kill -9`, and comes back."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Final

from deploy.local.cluster import Cluster
from voice_gateway.testing.cluster.configuration import worker_name
from voice_gateway.web.server import Route, WebRequest, WebResponse, WebServer

CRASH_PATH: Final = "/crash"
AWAY_S: Final = 2.0


class Incidents:
    """Listens while entered, on `port` of the cluster's host; pages of the cluster may `POST /crash?worker=NAME`."""

    def __init__(self, cluster: Cluster, port: int, *, away_s: float = AWAY_S) -> None:
        self._cluster = cluster
        self._port = port
        self._away_s = away_s
        self._server = WebServer({}, {}, routes=[Route(method, CRASH_PATH, self._crash) for method in ("GET", "POST")])
        self._crashes: dict[int, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Incidents:
        await self._server.start("demo", (self._cluster.options.host, self._port), None)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()
        for task in self._crashes.values():
            task.cancel()
        await asyncio.gather(*self._crashes.values(), return_exceptions=True)

    def _crash(self, request: WebRequest) -> WebResponse:
        origin = self._cluster.page_url.rstrip("/")
        # any page that a developer has open could send this: only ours may
        if request.method != "POST" or request.headers.get("origin") != origin:
            return WebResponse(HTTPStatus.FORBIDDEN, f"this is for {origin}\n")
        name = request.target.partition("?worker=")[2]
        workers = [worker_name(index) for index in range(self._cluster.options.workers)]
        if name not in workers:
            return WebResponse(HTTPStatus.NOT_FOUND, f"there are: {', '.join(workers)}\n", headers=_open_to(origin))
        index = workers.index(name)
        if index not in self._crashes:
            self._crashes[index] = asyncio.get_running_loop().create_task(self._kill_and_restart(index))
        answer = json.dumps({"worker": name, "away_s": self._away_s})
        return WebResponse(HTTPStatus.ACCEPTED, answer, "application/json", _open_to(origin))

    async def _kill_and_restart(self, index: int) -> None:
        try:
            await self._cluster.kill_worker(index)
            await asyncio.sleep(self._away_s)
            await self._cluster.start_worker(index)
        finally:
            del self._crashes[index]


def _open_to(origin: str) -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": origin,
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Vary": "Origin",
    }
