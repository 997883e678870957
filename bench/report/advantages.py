"""Where a peer does better than the gateway, found in the figures and not chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

Figures = Mapping[str, float]
NOISE: Final = 1.1
"""A peer is better where its figure is lower by more than this factor, and by more than `_LEAST`."""
_LEAST: Final = 2.0
_BLACKOUT: Final = "blackout"


def advantages(results: Mapping[str, Any]) -> list[str]:
    """A sentence for each figure in which a peer beats the best of the gateway's ways; lower is better in all."""
    found = []
    for name, unit, figures in compared(results):
        ours = {way: value for way, value in figures.items() if is_ours(way)}
        if not ours:
            continue
        best_name, best = min(ours.items(), key=lambda pair: pair[1])
        for peer, value in figures.items():
            if not is_ours(peer) and value * NOISE < best and best - value > _LEAST:
                found.append(f"{name}: {peer} {value:.4g} {unit}, {best_name} {best:.4g} {unit}.")
    return found


def is_ours(way: str) -> bool:
    """The ways of the uplink have the gateway's names for its modes."""
    return way.startswith("gateway") or way in {"one stream", "hybrid", "deadline of 0.2 s"}


def compared(results: Mapping[str, Any]) -> Iterator[tuple[str, str, Figures]]:
    """Each figure that several ways have, with its unit."""
    set_up = results.get("setup_time", {}).get("ways", {})
    for delay in next((each["there_ms"] for each in set_up.values()), {}):
        yield (
            f"Set-up over {delay} ms one way, to the first audio byte at the application",
            "ms",
            {way: each["there_ms"][delay]["median"] for way, each in set_up.items()},
        )
    silence = results.get("answering", {}).get("silence_ms", {})
    for outage in next(iter(silence.values()), {}):
        name = f"Silence in an answer that meets an outage of {outage} s"
        yield name, "ms", {way: each[outage]["median"] for way, each in silence.items()}
    for event, ways in results.get("moving", {}).get("events", {}).items():
        yield f"Longest wait for a frame, {event}", "ms", {way: each["gap_ms"]["median"] for way, each in ways.items()}
        yield f"Frames lost, {event}", "frames", {way: each["frames_lost"] for way, each in ways.items()}
    for link, ways in results.get("uplink", {}).get("links", {}).items():
        whole = {way: each for way, each in ways.items() if each["delivered_percent"] == 100 or is_ours(way)}
        late = {way: each["lateness_ms"]["p99"] for way, each in whole.items()}
        yield f"Lateness at p99 of all frames, {link}", "ms", late
        yield f"Bytes for each frame, {link}", "bytes", {way: each["bytes_per_frame"] for way, each in ways.items()}
