"""One Pipecat pipeline behind the gateway, Pipecat's WebSocket server and its MoQ server, over the same kind of link.

The link loses 2 % of packets at random each way, takes 50 ms one way, and goes dark for 1 s in an answer, in a turn of
the caller, and in an answer that the caller interrupts. Speech to text and synthesis know words that are tones. The
callers are the Python SDK, and for Pipecat's transports ones that play all audio as soon as it comes and drop what is
queued at an interruption. Needs root, and `make .venv-agents/.transports`;
`make bench-pipelines`; its results are `pipelines.md` and `pipelines.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any, Final

from bench.figures import percentile, save, saved, table
from bench.pipelines.rounds import KINDS, LINK_NAME, CallResult, hold_round
from testbed.link import is_possible

NAME: Final = "pipelines"
HEADER: Final = (
    "transport",
    "calls",
    "failed",
    "connected ms: median",
    "first audible sample ms: median",
    "p99",
    "silence in an answer, 1 s dark, ms: median",
    "p99",
    "words lost, 1 s dark in them (of 8 a call)",
    "words lost, other turns (of 14)",
    "words in the context, not heard: median",
    "most",
    "answer stops after an interruption, 0.5 s dark in it, ms: median",
    "p99",
    "the link itself late, ms: median of p99",
)


def figures(kind: str, results: Sequence[CallResult]) -> dict[str, Any]:
    """Return what was counted in the calls of one transport."""
    own = [each for each in results if each.kind == kind]
    whole = [each for each in own if not each.error]
    first = [each.first_sound_ms for each in whole if each.first_sound_ms is not None]
    silence = [each.silence_ms for each in whole if each.silence_ms is not None]
    stopped = [each.stopped_ms for each in whole if each.stopped_ms is not None]
    not_played = [float(each.not_played) for each in whole]
    return {
        "calls": len(own),
        "failed": len(own) - len(whole),
        "connected": _figure([each.connected_ms for each in whole], 50),
        "first": (_figure(first, 50), _figure(first, 99)),
        "silence": (_figure(silence, 50), _figure(silence, 99)),
        "lost in the dark": sum(each.lost_in_the_dark for each in whole),
        "lost elsewhere": sum(each.words_lost - each.lost_in_the_dark for each in whole),
        "not heard": (_figure(not_played, 50), _figure(not_played, 100)),
        "link late": _figure([each.link_late_ms for each in own], 50),
        "stopped": (_figure(stopped, 50), _figure(stopped, 99)),
    }


def _figure(values: Sequence[float], percent: float) -> float | str:
    return round(percentile(values, percent)) if values else ""


def _row(kind: str, results: Sequence[CallResult]) -> list[object]:
    found = figures(kind, results)
    return [
        kind,
        found["calls"],
        found["failed"],
        found["connected"],
        *found["first"],
        *found["silence"],
        found["lost in the dark"],
        found["lost elsewhere"],
        *found["not heard"],
        *found["stopped"],
        found["link late"],
    ]


async def _measure(results: list[CallResult], kinds: Sequence[str], count: int) -> None:
    began = time.monotonic()
    while (done := min(sum(each.kind == kind for each in results) for kind in kinds)) < count:
        found = await hold_round(dict(enumerate(kinds)), seed=done)
        results += found
        print(f"{time.monotonic() - began:5.0f} s, {done + 1} of {count} rounds", flush=True)
        for each in found:
            print(f"    {each}", flush=True)
        _save(results, is_shown=False)


def _save(results: Sequence[CallResult], *, is_shown: bool) -> None:
    title = f"One Pipecat pipeline behind three transports: {LINK_NAME}"
    text = f"{title}\n\n{table(HEADER, [_row(kind, results) for kind in KINDS])}"
    document = {
        "calls": [asdict(each) for each in results],
        "figures": {kind: figures(kind, results) for kind in KINDS},
    }
    save(NAME, document, text, is_shown=is_shown)


def main() -> None:
    """Measure, save and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transports", nargs="*", metavar="transport", help=f"{', '.join(KINDS)}; default: all")
    parser.add_argument("--count", type=int, default=20, help="calls of each transport")
    parser.add_argument("--quick", action="store_true", help="2 calls of each transport")
    parser.add_argument("--resume", action="store_true", help="keep what was measured at this commit")
    asked = parser.parse_args()
    kinds = asked.transports or KINDS
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"unknown transport {', '.join(sorted(unknown))}: one of {', '.join(KINDS)}")
    if not is_possible():
        parser.error("network namespaces are needed: run it as root, with iproute2 and /dev/net/tun")
    if find_spec("moq") is None and "moq" in kinds:
        parser.error("the package moq-rs is needed: make .venv-agents/.transports")
    earlier = saved(NAME).get("calls", ()) if asked.resume else ()
    results = [CallResult(**each) for each in earlier]
    asyncio.run(_measure(results, kinds, 2 if asked.quick else asked.count))
    _save(results, is_shown=True)


if __name__ == "__main__":
    main()
