"""How late a caller's frames reach the worker over a poor link, by each way of sending them, and what words are left.

The modes of the uplink are measured on virtual time: the production client calls the production worker through the load
balancer, over a link that is exact. A TLS WebSocket is measured in real time over the kernel's TCP (CUBIC), and so is
WebRTC by pion with NACK for audio, both joined by an emulator with the same links, which needs root. Frames are 20 ms
of Opus. Lateness is the time from the making of a frame to its delivery in order (WebRTC: as it comes), less the link's
50 ms; bytes are those of the caller's IP packets, acknowledgements included (WebRTC: with those for the echo).
Plain datagrams are computed: each frame once, delivered as it comes.

A real Chromium says the recording over WebRTC to pion, which asks for what is lost each 20 ms (NACK), at most five
times: with the in-band FEC that Chromium adds where losses are reported to it, and with RED as well, which is a copy
of each frame in the next packet. Its frames are late by their RTP timestamps, beside the earliest one of the call, so
what its own audio thread waits is in it. They are delivered where they came in any packet; frames that FEC alone
restores are not counted as delivered, but are played.
Its Opus of 32 kbit/s is its own, that of all others the client's of 24.

The words are of spoken orders, a recording for each seed. What arrived of it, by frame number, is decoded as the
gateway does, with concealment, and goes to the order agent's recogniser; no frame is too late for a stream or the
hybrid uplink, which keep the order. Of the ways without order a frame more than 200 ms late is concealed, as by a
jitter buffer; the last column has their words with a buffer without end. Chromium's packets are decoded with FEC.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import multiprocessing
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.figures import RESULTS, save
from bench.peers.ways import PeerMissingError, build_pion, described, webrtc, websocket
from bench.setup_time.browsers.callers import missing_program, version
from bench.uplink import simulated
from bench.uplink.conditions import CONDITIONS, Condition
from bench.uplink.emulated import runs
from bench.uplink.emulated.chromium.calls import chromium_calls
from bench.uplink.emulated.webrtc import webrtc_calls
from bench.uplink.outcome import Outcome, together
from bench.uplink.report import Row, as_document, as_table, draw, too_busy
from bench.uplink.spoken.recording import Passage, recording
from bench.uplink.spoken.words import JITTER_BUFFER_MS, Key, words_of
from testbed import link
from voicelink.audio.frames import FRAME_S

WEBSOCKET: Final = "TLS WebSocket"
WEBRTC: Final = "WebRTC (pion)"
CHROMIUM: Final = "WebRTC (Chromium, NACK and FEC)"
CHROMIUM_RED: Final = "WebRTC (Chromium, NACK, FEC and RED)"
PLAIN: Final = "plain datagrams"
_ORDERED: Final = frozenset({WEBSOCKET, *simulated.MODES})

Calls = dict[Key, list[Outcome]]
"""By condition and way, one for each seed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is measured; without recordings there are no words, and nothing that a browser could say."""

    conditions: Sequence[Condition]
    seeds: Sequence[int]
    seconds: float
    recordings: Sequence[list[Passage]]
    has_browser: bool


def measure(asked: Asked) -> Calls:
    """Place all calls."""
    conditions, seeds, seconds = asked.conditions, asked.seeds, asked.seconds
    calls = emulated_calls(asked)
    cells = [(condition, mode, seed, seconds) for condition in conditions for mode in simulated.MODES for seed in seeds]
    with multiprocessing.get_context("spawn").Pool(maxtasksperchild=8) as pool:
        outcomes = pool.starmap(simulated.place_call, cells, chunksize=1)
    for (condition, mode, _, _), outcome in zip(cells, outcomes, strict=True):
        calls.setdefault((condition.name, mode), []).append(outcome)
    for condition in conditions:
        calls[condition.name, PLAIN] = [simulated.plain_datagrams(condition, seed, seconds) for seed in seeds]
    return calls


def emulated_calls(asked: Asked) -> Calls:
    """Those of programs in real time, as far as they can run here."""
    conditions, seeds, seconds = asked.conditions, asked.seeds, asked.seconds
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
        for way, has_red in ((CHROMIUM, False), (CHROMIUM_RED, True)) if asked.has_browser else ():
            found[way] = asyncio.run(chromium_calls(conditions, asked.recordings, seconds, has_red=has_red))
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
    parser.add_argument("--no-browser", action="store_true", help="leave Chromium out")
    arguments = parser.parse_args()
    chosen = [each for each in CONDITIONS if any(part in each.name for part in arguments.link or [""])]
    seeds = range(1, arguments.seeds + 1)
    recordings: list[list[Passage]] = []
    if shutil.which("flite") is None:
        print("flite speaks the orders: going on without words (on Debian: apt-get install flite)", flush=True)
    else:
        recordings = [recording(seed, round(arguments.seconds / FRAME_S)) for seed in seeds]
    missing = "it was not asked for" if arguments.no_browser else missing_program("chromium")
    if missing or not recordings:
        print(f"going on without Chromium: {missing or 'there is nothing to say'}", flush=True)
    asked = Asked(chosen, seeds, arguments.seconds, recordings, not missing and bool(recordings))
    results = rows_of(measure(asked), recordings)
    frames = next(iter(next(iter(results.values())).values())).outcome.sent
    versions = {way: each["version"] for way, each in described([websocket(WEBSOCKET, 0), webrtc(WEBRTC, 0)]).items()}
    if asked.has_browser:
        versions[CHROMIUM] = versions[CHROMIUM_RED] = version("chromium")
    busy = too_busy(results)
    how: dict[str, Any] = {
        "seeds": list(seeds),
        "seconds": arguments.seconds,
        "frames": frames,
        "versions": versions,
        "too_busy": busy,
    }
    title = (
        f"The uplink, 50 ms one way, up to 30 ms of jitter, 20 ms frames; {frames} frames a row "
        f"(seeds 1 to {arguments.seeds}, {arguments.seconds:g} s each); "
        f"{', '.join(f'{way}: {each}' for way, each in versions.items())}\n\n"
    )
    text = title + as_table(results)
    if busy:
        text += f"\n\nThe machine was too busy for {', '.join(busy)}, late without any loss: run it again."
    save("uplink", {**how, "links": as_document(results)}, text)
    draw(results, RESULTS / "uplink.png")


if __name__ == "__main__":
    main()
