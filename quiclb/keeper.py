"""Keeps the routing table up to date: settings, discovery and health in, table specs out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from quiclb.errors import ConfigError
from quiclb.settings import Settings
from quiclb.spec import TableSpec

Publish = Callable[[TableSpec], None]
WATCH_INTERVAL_S = 1.0


class SettingsSource(Protocol):
    """Where settings are read again."""

    def load(self) -> Settings:
        """Read and check everything; raises `ConfigError`."""

    def signature(self) -> object:
        """Something that differs from the last time if `load` may give something new."""


class TableKeeper:
    """Calls `publish` with a checked spec, first from `start` and then at every change, until `stop`.

    `publish` must return at once. With a `source`, settings are loaded again when its signature changes or on `reload`;
    settings that are bad leave the table as it is.
    """

    def __init__(self, settings: Settings, publish: Publish, *, source: SettingsSource | None = None) -> None:
        self.settings = settings
        self._publish = publish
        self._source = source
        self._signature: object = None
        self._spec: TableSpec | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._log = structlog.get_logger()

    @property
    def spec(self) -> TableSpec:
        """The spec published last."""
        if self._spec is None:
            raise RuntimeError("the keeper is not started")
        return self._spec

    async def start(self) -> None:
        """Publish the first spec before returning, then watch for changes."""
        self._update()
        if self._source is not None:
            self._signature = self._source.signature()
            self._watcher = asyncio.get_running_loop().create_task(self._watch(self._source))

    async def stop(self) -> None:
        """Watch no longer; nothing is published after this."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    def reload(self) -> None:
        """Load the settings again, as SIGHUP asks for."""
        if self._source is None:
            return
        self._signature = self._source.signature()
        try:
            self.settings = self._source.load()
        except ConfigError as error:
            self._log.error("settings refused, the old ones stay", fault=str(error))
            return
        self._update()

    async def _watch(self, source: SettingsSource) -> None:
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            if source.signature() != self._signature:
                self.reload()

    def _update(self) -> None:
        spec = self.settings.table_spec(0 if self._spec is None else self._spec.generation + 1)
        self._spec = spec
        self._publish(spec)
