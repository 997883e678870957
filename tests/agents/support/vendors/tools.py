"""The tool that the local vendors call, with the key of each call."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

taken: list[tuple[str, str]] = []
gate = asyncio.Event()


async def take_order(words: str, key: str) -> str:
    """Take an order."""
    taken.append((words, key))
    return "taken"


async def take_order_slowly(words: str, key: str) -> str:
    """Take an order, and return once the gate is open."""
    taken.append((words, key))
    await gate.wait()
    return "taken"


take_order_slowly.__name__ = "take_order"


def recorded_order(words: str, key: str) -> str:
    """Take an order: write it to the file that `ORDERS` names, for a worker in a process of its own."""
    with Path(os.environ["ORDERS"]).open("a") as file:
        file.write(f"{key} {words}\n")
    return "taken"


def recorded_order_once_open(words: str, key: str) -> str:
    """Take an order, and return once a file of that name with `.open` is there."""
    result = recorded_order(words, key)
    while not Path(os.environ["ORDERS"] + ".open").exists():
        time.sleep(0.01)
    return result


recorded_order.__name__ = recorded_order_once_open.__name__ = "take_order"
