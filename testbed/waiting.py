"""Waits for what has no event: a counter, another thread, another process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(is_so: Callable[[], object], what: str = "", timeout_s: float = 20.0) -> None:
    """Let the loop run until the condition holds; fail, naming `what` was awaited, after the timeout."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not is_so():
        assert asyncio.get_running_loop().time() < deadline, f"waited in vain: {what}"
        await asyncio.sleep(0.005)
