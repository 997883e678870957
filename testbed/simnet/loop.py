"""An asyncio event loop on virtual time: when nothing is ready, the clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from testbed.errors import DeadlockError, NotSimulatedError, OutOfTimeError
from testbed.simnet.process import PROCESS, Process

START_S = 1_000.0
"""Virtual time does not begin at 0, where `if deadline:` would hide a mistake."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs asyncio code as fast as it computes, without a network.

    Executors run inline, so a simulation has one thread and one order of events. There is no TCP.
    """

    def __init__(self, *, limit_s: float = 3_600.0) -> None:
        super().__init__()
        self._now = START_S
        self._limit = START_S + limit_s
        self._selector = _Clock(self)
        self._clock_resolution = 1e-9
        self._ready: deque[asyncio.Handle]  # both are set by the base class
        self._scheduled: list[asyncio.TimerHandle]
        self._killed: set[Process] = set()
        self._held: list[asyncio.Handle] = []
        self._corpses: list[asyncio.Task[Any]] = []
        self._owners: weakref.WeakKeyDictionary[asyncio.Task[Any], Process] = weakref.WeakKeyDictionary()
        self._thread = threading.get_ident()

    def time(self) -> float:
        return self._now

    def elapsed(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now - START_S

    def kill(self, process: Process) -> None:
        """Stop a process as SIGKILL does: no callback, no `finally`, nothing of it runs again."""
        process.is_alive = False
        self._killed.add(process)
        self._corpses.extend(task for task in asyncio.all_tasks(self) if self._owners.get(task) is process)
        self._hold_killed([*self._ready, *self._scheduled])

    def bury(self) -> None:
        """Let the tasks of killed processes run once more, so that they can be cancelled and collected."""
        self._killed.clear()
        self._ready.extend(self._held)
        self._held.clear()

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, name=name, context=context)
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is not None:
            self._owners[task] = process
        return task

    def live_tasks(self) -> set[asyncio.Task[Any]]:
        """All tasks but the running one and those of killed processes."""
        return {
            task
            for task in asyncio.all_tasks(self)
            if task is not asyncio.current_task(self) and self._owners.get(task) not in self._killed
        }

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        if threading.get_ident() != self._thread:
            raise NotSimulatedError(f"a thread calls back with {callback!r}")
        return self.call_soon(callback, *args, context=context)

    async def create_server(self, *args: Any, **options: Any) -> Any:
        raise NotSimulatedError("a simulation has no TCP: leave the listener out")

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        raise NotSimulatedError("a simulation has no TCP: leave the connection out")

    def describe_tasks(self, tasks: Iterable[asyncio.Task[Any]] | None = None) -> str:
        """One line a task, with the line of code at which it waits."""
        lines = []
        for task in sorted(tasks if tasks is not None else asyncio.all_tasks(self), key=lambda task: task.get_name()):
            owner = f" of {self._owners[task].name}" if task in self._owners else ""
            lines.append(f"  {task.get_name()}{owner}: {' > '.join(_waiting_at(task.get_coro()))}")
        return "\n".join(lines) or "  none"

    def _run_once(self) -> None:
        if self._killed:
            self._hold_killed(self._ready)
        super()._run_once()  # type: ignore[misc]

    def _hold_killed(self, handles: Iterable[asyncio.Handle]) -> None:
        """Cancel what belongs to killed processes, and keep a copy of it for `bury`."""
        for handle in handles:
            if not handle.cancelled() and _process_of(handle) in self._killed:
                self._held.append(_clone(handle, self))
                handle.cancel()

    def _process_events(self, event_list: list[Any]) -> None:
        """The network's events are timers."""

    def _write_to_self(self) -> None:
        """Nothing sleeps in a system call."""


class _Clock:
    """Stands where the selector of a real loop waits."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        loop = self._loop
        if timeout is None:
            raise DeadlockError(
                f"nothing is ready and no timer is set at {loop.elapsed():.6f} s\n{loop.describe_tasks()}"
            )
        if timeout > 0:
            loop._now = max(loop._now, loop._scheduled[0].when())
            if loop._now > loop._limit:
                raise OutOfTimeError(f"still running at {loop.elapsed():.6f} s\n{loop.describe_tasks()}")
        return []

    def close(self) -> None:
        """A loop closes its selector."""


def _waiting_at(coroutine: Any) -> list[str]:
    """From the outermost await to the innermost."""
    places = []
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        places.append(f"{coroutine.__qualname__} at {frame.f_code.co_filename}:{frame.f_lineno}")
        coroutine = coroutine.cr_await
    return places or [repr(coroutine)]


def _clone(handle: asyncio.Handle, loop: VirtualLoop) -> asyncio.Handle:
    return asyncio.Handle(handle._callback, handle._args, loop, handle._context)  # type: ignore[attr-defined]


def _process_of(handle: asyncio.Handle) -> Process | None:
    process: Process | None = handle._context.get(PROCESS)  # type: ignore[attr-defined]
    return process
