"""Moves complete segments to object storage and deletes what has been kept for long enough, on a thread of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from voice_gateway.errors import GatewayError, loggable
from voice_gateway.recording.library.archive import Archive, FolderArchive, move_to_storage
from voice_gateway.recording.library.library import Library, Retention
from voice_gateway.recording.library.withdrawals import Withdrawals

SWEEP_EVERY_S: Final = 3_600.0
LEFT_AFTER_S: Final = 3_600.0
"""A segment that was not written for so long is that of a worker that is gone."""
_RETRY_S: Final = 60.0
_MAX_WAITING: Final = 10_000
_log = structlog.get_logger("voice_gateway.recording")


class Upkeep:
    """`start` it, give it what is complete, `stop` it in the end.

    `storage` is where complete segments go, `None` where they stay in the folder. `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        folder: FolderArchive,
        storage: Archive | None,
        archive: Archive,
        retention: Retention,
        clock: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._storage = storage
        self._library = Library(archive)
        self._retention = retention
        self._clock = clock
        self._tasks: queue.Queue[Callable[[], None] | None] = queue.Queue(_MAX_WAITING)
        self._withdrawals = Withdrawals(folder.folder)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="recording-upkeep", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Finish what was asked for; blocks for `timeout_s` at most. What is left is moved by a later sweep."""
        if self._thread is not None:
            self._put(None)
            self._thread.join(timeout_s)
            self._thread = None

    def segment_closed(self, folder: Path, stem: str) -> None:
        """Move a complete segment, if there is somewhere to move it."""
        if self._storage is not None:
            self._put(lambda: self._move(folder.name, stem))

    def withdrawn(self, session_id: str) -> None:
        """Delete what other workers, or this one before, kept of a call's sound and words; called on any thread but the
        event loop's.
        """
        self._withdrawals.add(session_id)
        self._put(self._withdraw)

    def sweep(self) -> None:
        """Delete what was withdrawn and what is old, and move what workers that are gone have left."""
        self._withdraw()
        now = self._clock()
        deleted = self._library.sweep(now, self._retention)
        if deleted:
            _log.info("recordings_deleted", files=deleted, cause="retention")
        if self._storage is not None:
            for call in self._folder.calls():
                for stem in sorted({name.rpartition(".")[0] for name in self._folder.names(call)}):
                    if self._is_left(call, stem, now):
                        self._move(call, stem)

    def _withdraw(self) -> None:
        self._withdrawals.carry_out(self._library.withdraw)

    def _is_left(self, call: str, stem: str, now: float) -> bool:
        try:
            written = [file.stat().st_mtime for file in (self._folder.folder / call).glob(f"{stem}.*")]
        except FileNotFoundError:  # another worker with this folder moves it just now
            return False
        return now - max(written, default=now) > LEFT_AFTER_S

    def _move(self, call: str, stem: str) -> None:
        if self._storage is not None:
            move_to_storage(self._folder, self._storage, call, stem)

    def _put(self, task: Callable[[], None] | None) -> None:
        try:
            self._tasks.put_nowait(task)
        except queue.Full:  # the next sweep finds what there is to do; the end of the worker does not wait
            _log.warning("recording_upkeep_behind", waiting=_MAX_WAITING)

    def _run(self) -> None:
        sweep_at = time.monotonic()
        while True:
            try:
                task = self._tasks.get(timeout=max(0.0, sweep_at - time.monotonic()))
            except queue.Empty:
                sweep_at = time.monotonic() + SWEEP_EVERY_S
                task = self.sweep
            if task is None:
                return
            try:
                task()
            except GatewayError as error:
                _log.warning("recording_upkeep_failed", reason=str(error), remedy="what is left is tried again")
                sweep_at = min(sweep_at, time.monotonic() + _RETRY_S)
            except Exception as error:  # a defect in one call must not end the thread
                _log.error("recording_upkeep_failed", **loggable(error))
