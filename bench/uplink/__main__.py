"""How late a caller's frames reach the worker over a poor link, by each way of sending them, and what words are left.

The modes of the uplink are measured on virtual time: the production client calls the production worker through the load
balancer, over a link that is exact. A TLS WebSocket is measured in real time over the kernel's TCP (CUBIC), and so is
WebRTC by pion with NACK for audio, both joined by an emulator with the same links, which needs root. Frames are 20 ms
of Opus. Lateness is the time from the making of a frame to its delivery in order (WebRTC: as it comes), less the link's
50 ms; bytes are those of the caller's IP packets, acknowledgements included (WebRTC: with those for the echo).
Plain datagrams are computed: each frame once, delivered as it comes.

The words are of spoken orders, a recording for each seed. What arrived of it, by frame number, is decoded as the
gateway does, with concealment, and goes to the order agent's recogniser; no frame is too late for a stream or the
hybrid uplink, which keep the order. Of the ways without order a frame more than 200 ms late is concealed, as by a
jitter buffer; the last column has their words with a buffer without end.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import multiprocessing
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.figures import RESULTS, save
from bench.peers.ways import PeerMissingError, build_pion
from bench.uplink import simulated
from bench.uplink.conditions import CONDITIONS, Condition
from bench.uplink.emulated import runs
from bench.uplink.emulated.webrtc import webrtc_calls
from bench.uplink.outcome import Outcome, together
from bench.uplink.report import Row, as_document, as_table, draw
from bench.uplink.spoken.recording import Passage, recording
from bench.uplink.spoken.words import JITTER_BUFFER_MS, Key, words_of
from testbed import link
from voicelink.audio.frames import FRAME_S

WEBSOCKET: Final = "TLS WebSocket"
WEBRTC: Final = "WebRTC (pion)"
PLAIN: Final = "plain datagrams"
_ORDERED: Final = frozenset({WEBSOCKET, *simulated.MODES})

Calls = dict[Key, list[Outcome]]
"""By condition and way, one for each seed."""


def measure(conditions: Sequence[Condition], seeds: Sequence[int], seconds: float) -> Calls:
    """Place all calls."""
    calls = emulated_calls(conditions, seeds, seconds)
    asked = [(condition, mode, seed, seconds) for condition in conditions for mode in simulated.MODES for seed in seeds]
    with multiprocessing.get_context("spawn").Pool(maxtasksperchild=8) as pool:
        outcomes = pool.starmap(simulated.place_call, asked, chunksize=1)
    for (condition, mode, _, _), outcome in zip(asked, outcomes, strict=True):
        calls.setdefault((condition.name, mode), []).append(outcome)
    for condition in conditions:
        calls[condition.name, PLAIN] = [simulated.plain_datagrams(condition, seed, seconds) for seed in seeds]
    return calls


def emulated_calls(conditions: Sequence[Condition], seeds: Sequence[int], seconds: float) -> Calls:
    """Those of programs in real time, as far as they can run here."""
    if not link.is_possible():
        print("no root, or no tunnel device: going on without the WebSocket and WebRTC", flush=True)
        return {}
    found = {WEBSOCKET: asyncio.run(runs.websocket_calls(conditions, seeds, seconds))}
    try:
        build_pion()
    except PeerMissingError as error:
        print(f"going on without WebRTC: {error}", flush=True)
    else:
        found[WEBRTC] = asyncio.run(webrtc_calls(conditions, seeds, seconds))
    return {
        (condition.name, way): outcomes
        for way, of_conditions in found.items()
        for condition, outcomes in zip(conditions, of_conditions, strict=True)
    }


def rows_of(calls: Mapping[Key, list[Outcome]], recordings: Sequence[Sequence[Passage]]) -> dict[str, dict[str, Row]]:
    """By condition and way; without words where there is no recording."""
    limits_ms = {key: math.inf if key[1] in _ORDERED else JITTER_BUFFER_MS for key in calls}
    words = words_of(calls, limits_ms, recordings) if recordings else {}
    rows: dict[str, dict[str, Row]] = {}
    for (condition, way), outcomes in calls.items():
        rows.setdefault(condition, {})[way] = Row(together(outcomes), words.get((condition, way)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of speech in each call")
    parser.add_argument("--seeds", type=int, default=3, help="calls for each link and way")
    parser.add_argument("--link", action="append", help="only links whose name contains this; repeatable")
    arguments = parser.parse_args()
    chosen = [each for each in CONDITIONS if any(part in each.name for part in arguments.link or [""])]
    seeds = range(1, arguments.seeds + 1)
    recordings: list[list[Passage]] = []
    if shutil.which("flite") is None:
        print("flite speaks the orders: going on without words (on Debian: apt-get install flite)", flush=True)
    else:
        recordings = [recording(seed, round(arguments.seconds / FRAME_S)) for seed in seeds]
    results = rows_of(measure(chosen, seeds, arguments.seconds), recordings)
    frames = next(iter(next(iter(results.values())).values())).outcome.sent
    how: dict[str, Any] = {"seeds": list(seeds), "seconds": arguments.seconds, "frames": frames}
    title = (
        f"The uplink, 50 ms one way, up to 30 ms of jitter, 20 ms frames; {frames} frames a row "
        f"(seeds 1 to {arguments.seeds}, {arguments.seconds:g} s each)\n\n"
    )
    save("uplink", {**how, "links": as_document(results)}, title + as_table(results))
    draw(results, RESULTS / "uplink.png")


if __name__ == "__main__":
    main()
