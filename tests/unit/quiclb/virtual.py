"""An event loop whose clock jumps to the next timer when no socket has anything to say."""

from __future__ import annotations

import asyncio
import functools
import inspect
import selectors


class VirtualLoop(asyncio.SelectorEventLoop):
    """Loopback sockets work as ever: what was sent is readable at once."""

    def __init__(self) -> None:
        self._now = 1000.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        if timeout is None:
            return super().select(None)
        events = super().select(0)
        if not events and timeout > 0:
            self._loop.jump(timeout)
        return events


def on_virtual_time(test):
    """Run an async test on a `VirtualLoop`."""

    @functools.wraps(test)
    def run(**arguments):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(**arguments))

    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]  # functools.wraps hides that it is a function
    return run
