"""Turns specs into tables off the forwarding path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from quiclb.logs.setup import log_debug
from quiclb.routing.table import RoutingTable
from quiclb.routing.table_spec import TableSpec


def log_table(event: str, table: RoutingTable) -> None:
    """Log at debug level that a table is built or installed, with its version and number of backends."""
    log_debug(event, version=table.version, backends=len(table.pool))


class TableInstaller:
    """Builds the newest spec in a thread, so that datagrams flow meanwhile, and hands the table to `install`.

    `publish` returns at once. Specs that arrive while one is built replace each other: only the last is built.
    """

    def __init__(self, install: Callable[[RoutingTable], None]) -> None:
        self._install = install
        self._newest: TableSpec | None = None
        self._task: asyncio.Task[None] | None = None

    def publish(self, spec: TableSpec) -> None:
        """Take a checked spec; the table is installed when it is built."""
        self._newest = spec
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._build())

    async def wait(self) -> None:
        """Return when what was published is installed."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Forget what is not installed yet."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _build(self) -> None:
        try:
            while self._newest is not None:
                spec, self._newest = self._newest, None
                table = await asyncio.get_running_loop().run_in_executor(None, spec.build)
                log_table("table built", table)
                if self._newest is None:
                    self._install(table)
        finally:
            self._task = None
