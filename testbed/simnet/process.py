"""The simulated programs: whose code runs, and whether it still may."""

from __future__ import annotations

import contextvars


class Process:
    """One incarnation of a simulated program: all that runs in a context whose `PROCESS` it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True

    def context(self) -> contextvars.Context:
        """A fresh context in which this process runs."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        return context


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("PROCESS", default=None)
