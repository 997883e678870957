"""A folder of qlogs, one file a connection, for the debugging of single calls; bounded in memory and on disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

import msgspec
import structlog

from quiclb.logs.limits import LimitedLog
from voice_gateway.errors import ConfigurationError
from voicelink.quic import Connection

MAX_LOGGED_AT_ONCE: Final = 16
"""Connections with a log in memory, each of at most `voicelink.quic.qlog.MAX_EVENTS` events."""
_SUFFIX: Final = ".qlog"
_log = LimitedLog(structlog.get_logger(__name__))


class QlogFolder:
    """Gives connections a qlog, and writes it in a thread when the connection ends, readable by its owner alone.

    Of new connections the share `sample` gets one, by `draw`, which gives numbers from 0 to 1; and none while
    `MAX_LOGGED_AT_ONCE` have one. Beyond `max_bytes` in the folder the oldest
    logs are deleted. Raises `ConfigurationError` for a folder that cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        wall_clock: Callable[[], float] = time.time,
        *,
        sample: float = 1.0,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise ConfigurationError(f"quic.qlog_folder must be a folder that the worker can write, got {folder}")
        self._folder = folder
        self._max_bytes = max_bytes
        self._wall_clock = wall_clock
        self._sample = sample
        self._draw = draw
        self._logged: WeakSet[Connection] = WeakSet()

    @property
    def on_log(self) -> Callable[[dict[str, Any]], None] | None:
        """What takes the log of a new connection; `None` where it is to have none."""
        is_drawn = self._sample >= 1.0 or self._draw() < self._sample
        return self._write_soon if is_drawn and len(self._logged) < MAX_LOGGED_AT_ONCE else None

    def follow(self, connection: Connection) -> None:
        """Count a connection that has a log, for as long as it is in memory."""
        self._logged.add(connection)

    def _write_soon(self, log: dict[str, Any]) -> None:
        asyncio.get_running_loop().run_in_executor(None, self.write, log)

    def write(self, log: Mapping[str, Any]) -> None:
        """Write one finished log, and delete the oldest ones beyond `max_bytes`; what fails is logged."""
        [trace] = log["traces"]
        name = f"{round(self._wall_clock() * 1000)}-{trace['common_fields']['ODCID']}{_SUFFIX}"
        try:
            descriptor = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                for part in encode_qlog(log):
                    file.write(part)
            self._delete_oldest()
        except OSError as error:
            _log.warning("qlog_not_written", folder=str(self._folder), reason=error.strerror or str(error))

    def _delete_oldest(self) -> None:
        """Delete until the rest fits; another worker may do so in the same folder."""
        sizes: list[tuple[float, int, Path]] = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                sizes.append((status.st_mtime, status.st_size, path))
        excess = sum(size for _, size, _ in sizes) - self._max_bytes
        for _, size, path in sorted(sizes):
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size


def encode_qlog(log: Mapping[str, Any]) -> list[bytes]:
    """Return the log of one connection as JSON, event by event: one piece would hold the interpreter for too long."""
    [trace] = log["traces"]
    encode = msgspec.json.encode
    head = {key: value for key, value in log.items() if key != "traces"}
    rest = {key: value for key, value in trace.items() if key != "events"}
    parts = [encode(head)[:-1], b',"traces":[', encode(rest)[:-1], b',"events":[']
    for number, event in enumerate(trace["events"]):
        parts += (b",\n" if number else b"", encode(event))
    return [*parts, b"]}]}\n"]
