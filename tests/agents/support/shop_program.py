"""Tools of a shop for workers in other processes: orders go to the file that `ORDERS` names, a line each."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path


async def add_item(item: str, key: str) -> dict[str, list[str]]:
    """Add an item to the order."""
    with Path(os.environ["ORDERS"]).open("a") as file:  # noqa: ASYNC230 - a line
        file.write(f"{key} {item}\n")
    return {"items": [item]}


async def add_item_once_open(item: str, key: str) -> dict[str, list[str]]:
    """Add an item to the order, and return once there is a file that opens the gate."""
    added = await add_item(item, key)
    while not Path(os.environ["ORDERS"] + ".open").exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
        await asyncio.sleep(0.01)
    return added


add_item_once_open.__name__ = "add_item"
