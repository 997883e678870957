"""A local vendor on an event loop of its own, for tests that run theirs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def in_a_thread(server: AbstractAsyncContextManager[T]) -> Iterator[T]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    started: Future[T] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        async with server as running:
            started.set_result(running)
            await stop.wait()

    serving = asyncio.run_coroutine_threadsafe(serve(), loop)
    try:
        yield started.result(30)
    finally:
        loop.call_soon_threadsafe(stop.set)
        serving.result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
