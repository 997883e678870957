"""Tools of a shop that notes what was ordered, with the key of each call."""

from __future__ import annotations

import asyncio

ordered: list[tuple[str, str]] = []
gate = asyncio.Event()


async def add_item(item: str, key: str) -> dict[str, list[str]]:
    """Add an item to the order."""
    ordered.append((item, key))
    return {"items": [item]}


async def add_item_slowly(item: str, key: str) -> dict[str, list[str]]:
    """Add an item to the order, and return once the gate is open."""
    ordered.append((item, key))
    await gate.wait()
    return {"items": [item]}


add_item_slowly.__name__ = "add_item"
