"""A real Firefox, driven by WebDriver BiDi over its own WebSocket."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

from testbed.link import Namespace

PREFERENCES = {
    "network.webtransport.enabled": True,
    "network.http.http3.enable": True,
    # an authority of one's own is no reason to go back to TCP
    "network.http.http3.disable_when_third_party_roots_found": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.normandy.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
}
_READY_S = 60.0


class Tab:
    """A tab of Firefox."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._context = ""

    async def begin(self) -> None:
        """Open the session with the browser, and take its first tab."""
        await self._ask("session.new", capabilities={})
        tree = await self._ask("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]

    async def visit(self, url: str) -> None:
        """Load a page."""
        await self._ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def evaluate(self, expression: str) -> Any:
        """Return the value of the expression, or of its promise; raises `RuntimeError` with what it throws."""
        wrapped = f"(async () => JSON.stringify(await ({expression})))()"
        target = {"context": self._context}
        answer = await self._ask("script.evaluate", expression=wrapped, target=target, awaitPromise=True)
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    async def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(await self._socket.recv())
            if answer.get("id") == number:
                break
        if answer["type"] == "error":
            raise RuntimeError(f"{method}: {answer['error']}: {answer['message']}")
        return dict(answer["result"])


@asynccontextmanager
async def browsing(executable: str, inside: Namespace | None = None) -> AsyncIterator[Tab]:
    """A tab of a fresh Firefox without a window, in a namespace where one is given; the browser is gone at the end."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()]
        (Path(folder) / "user.js").write_text("".join(lines))
        command = (executable, "--headless", "--no-remote", "--profile", folder, "--remote-debugging-port", "0")
        process = await asyncio.create_subprocess_exec(
            *(command if inside is None else inside.command(*command)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"HOME": folder, "MOZ_CRASHREPORTER_DISABLE": "1"},
        )
        errors: asyncio.Task[None] | None = None
        try:
            address = await asyncio.wait_for(_address(process), _READY_S)
            errors = asyncio.create_task(_drain(process))
            async with connect(f"{address}/session", max_size=None, sock=_connected(address, inside)) as control:
                tab = Tab(control)
                await tab.begin()
                yield tab
        finally:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 10.0)
            except TimeoutError:
                process.kill()
                await process.wait()
            if errors is not None:
                await errors


def _connected(address: str, inside: Namespace | None) -> socket.socket | None:
    """A socket to Firefox where it is in a namespace, whose loopback is its own."""
    if inside is None:
        return None
    parts = urlsplit(address)
    sock = inside.socket(socket.SOCK_STREAM)
    sock.connect((parts.hostname, parts.port))
    sock.setblocking(False)
    return sock


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said = []
    while line := (await process.stderr.readline()).decode(errors="replace"):
        if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", line):
            return found[1]
        said.append(line)
    raise RuntimeError(f"Firefox does not start: {''.join(said[-10:])}")


async def _drain(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    while await process.stderr.read(65536):
        pass
