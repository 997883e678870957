"""Several workers of one host that open one new SQLite file in the same moment."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from voice_gateway.errors import StoreError
from voice_gateway.store.implementations.sqlite import SqliteStore

PROCESSES, FILES = 4, 60


def open_all(folder: Path, barrier: Barrier, faults: multiprocessing.Queue[str]) -> None:
    for n in range(FILES):
        barrier.wait(30)
        try:
            store = SqliteStore(folder / f"{n}.db", ttl_s=60.0, clock=time.time)
        except StoreError as error:
            faults.put(str(error))
        else:
            store._database.close()


def test_four_processes_open_sixty_new_files_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, faults = context.Barrier(PROCESSES), context.Queue()
    workers = [context.Process(target=open_all, args=(tmp_path, barrier, faults)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(90)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    seen = []
    while not faults.empty():
        seen.append(faults.get())
    assert seen == []
