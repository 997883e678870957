"""What must be true of the demonstration's call for nothing to have been lost."""

from __future__ import annotations

from typing import Any

from deploy.local.scenario import ScenarioResult


def expected_order() -> list[dict[str, Any]]:
    """What the recorded caller orders: the keys that the caller names, item by item."""
    return [
        {"drink": "taro milk tea", "quantity": 1, "size": "large", "milk": "oat", "sugar_percent": 75},
        {"drink": "matcha latte", "quantity": 1},
    ]


def find_losses(result: ScenarioResult) -> list[str]:
    """Return a sentence for each thing that was lost; an empty list is a call that lost nothing."""
    call, session = result.call, result.worker_session
    faults = []
    if result.failure is not None:
        faults.append(f"the call did not end well: {result.failure}")
    items = call["state"].get("items", [])
    if [named(item, like) for item, like in zip(items, expected_order(), strict=False)] != expected_order():
        faults.append(f"the order is not what was said: {items}")
    if len(items) != len(expected_order()):
        faults.append(f"the order has {len(items)} items, {len(expected_order())} were said")
    if call["frames_sent"] != call["frames_acked"]:
        faults.append(f"{call['frames_sent']} frames were sent, {call['frames_acked']} were acked")
    received = session.get("uplink", {}).get("frames")
    if received != call["frames_sent"]:
        faults.append(f"{call['frames_sent']} frames were sent, the worker received {received}")
    if session.get("worker") != result.first_worker:
        faults.append(f"{result.first_worker} took the call, {session.get('worker')} ended it")
    if not session.get("migrations"):
        faults.append("the worker saw no change of address")
    return faults


def named(item: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """Those keys of `item` that `like` has."""
    return {key: item.get(key) for key in like}
