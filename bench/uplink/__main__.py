"""How late a caller's frames reach the worker over a poor link, by each way of sending them.

The modes of the uplink are measured on virtual time: the production client calls the production worker through the load
balancer, over a link that is exact. A TLS WebSocket is measured in real time over the kernel's TCP (CUBIC), and so is
WebRTC by pion with NACK for audio, both joined by an emulator with the same links, which needs root. Frames are 20 ms
of Opus. Lateness is the time from the making of a frame to its delivery in order (WebRTC: as it comes), less the link's
50 ms; bytes are those of the caller's IP packets, acknowledgements included (WebRTC: with those for the echo).
Plain datagrams are computed: each frame once, delivered as it comes.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
from collections.abc import Sequence
from typing import Any

from bench.figures import RESULTS, save
from bench.peers.ways import PeerMissingError, build_pion
from bench.uplink import simulated
from bench.uplink.conditions import CONDITIONS, Condition
from bench.uplink.emulated import runs
from bench.uplink.emulated.webrtc import webrtc_calls
from bench.uplink.outcome import Outcome, together
from bench.uplink.report import as_document, as_table, draw
from testbed import link

WEBSOCKET = "TLS WebSocket"
WEBRTC = "WebRTC (pion)"
PLAIN = "plain datagrams"


def measure(conditions: Sequence[Condition], seeds: Sequence[int], seconds: float) -> dict[str, dict[str, Outcome]]:
    """By condition and way."""
    results: dict[str, dict[str, Outcome]] = {condition.name: {} for condition in conditions}
    if link.is_possible():
        calls = asyncio.run(runs.websocket_calls(conditions, seeds, seconds))
        for condition, outcomes in zip(conditions, calls, strict=True):
            results[condition.name][WEBSOCKET] = together(outcomes)
        try:
            build_pion()
        except PeerMissingError as error:
            print(f"going on without WebRTC: {error}", flush=True)
        else:
            calls = asyncio.run(webrtc_calls(conditions, seeds, seconds))
            for condition, outcomes in zip(conditions, calls, strict=True):
                results[condition.name][WEBRTC] = together(outcomes)
    else:
        print("no root, or no tunnel device: going on without the WebSocket and WebRTC", flush=True)
    asked = [(condition, mode, seed, seconds) for condition in conditions for mode in simulated.MODES for seed in seeds]
    with multiprocessing.get_context("spawn").Pool(maxtasksperchild=8) as pool:
        outcomes = pool.starmap(simulated.place_call, asked, chunksize=1)
    for condition in conditions:
        ways = results[condition.name]
        for mode in simulated.MODES:
            same = [each for each, (c, m, _, _) in zip(outcomes, asked, strict=True) if (c, m) == (condition, mode)]
            ways[mode] = together(same)
        ways[PLAIN] = together([simulated.plain_datagrams(condition, seed, seconds) for seed in seeds])
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of speech in each call")
    parser.add_argument("--seeds", type=int, default=3, help="calls for each link and way")
    parser.add_argument("--link", action="append", help="only links whose name contains this; repeatable")
    arguments = parser.parse_args()
    chosen = [each for each in CONDITIONS if any(part in each.name for part in arguments.link or [""])]
    seeds = range(1, arguments.seeds + 1)
    results = measure(chosen, seeds, arguments.seconds)
    frames = next(iter(next(iter(results.values())).values())).sent
    how: dict[str, Any] = {"seeds": list(seeds), "seconds": arguments.seconds, "frames": frames}
    title = (
        f"The uplink, 50 ms one way, up to 30 ms of jitter, 20 ms frames; {frames} frames a row "
        f"(seeds 1 to {arguments.seeds}, {arguments.seconds:g} s each)\n\n"
    )
    save("uplink", {**how, "links": as_document(results)}, title + as_table(results))
    draw(results, RESULTS / "uplink.png")


if __name__ == "__main__":
    main()
