"""How long a call takes from its start to its first audio byte at the application, and to the first one back.

Real programs over an emulated link of 0, 50 and 150 ms one way; ms are as measured, at the median. Round trips are the
slope between the first and the last of these links at the quickest calls, so that what programs compute does not count.

Browsers place their calls from a page that is already loaded: the time begins where the page calls `connect`, or makes
its `RTCPeerConnection`, and ends with the first audio back in the page. Sound is made in the page, as by a microphone
that is open. Chromium's WebRTC calls pion, by HTTPS without a connection before, and with one as a page of the same
server has. Firefox places WebTransport calls only.

Frameworks for voice agents, which are larger programs, have fewer calls: Pipecat's MoQ and SmallWebRTC transports in
front of a pipeline that echoes, and a LiveKit server, with a room for each call in which a participant waits that
echoes. Their callers speak a tone from the earliest moment at which their library takes sound, and the first frame that
is not silence counts. Chromium calls SmallWebRTC, too, by HTTPS without a connection before.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bench.figures import percentile, save, summary, table
from bench.peers.timing import CallTimes
from bench.peers.ways import (
    Way,
    available,
    caller,
    certificate,
    described,
    gateway,
    livekit,
    moq,
    servers,
    smallwebrtc,
    webrtc,
    websocket,
)
from bench.setup_time.browsers.callers import calls_in_browser, version
from bench.setup_time.browsers.callers import missing as browser_missing
from testbed.link import EmulatedLink, LinkPath
from testbed.simnet.links import Profile
from voice_gateway.certificates.development import DevelopmentCertificate

DELAYS_MS: Final = (0, 50, 150)
_OF_FRAMEWORKS: Final = 4
WAYS: Final = (
    gateway("gateway, first call", 7_001, script="setup-full", speech="tone"),
    gateway("gateway, resumed", 7_001, script="setup-resumed", speech="tone"),
    gateway("gateway, first call with Retry", 7_002, script="setup-full", speech="tone", retry=True),
    websocket("TLS WebSocket", 7_003),
    webrtc("WebRTC (pion)", 7_004),
    webrtc("WebRTC (pion), a UDP port for each call", 7_005, has_mux=False),
    moq("Pipecat MoQ", 7_020, _OF_FRAMEWORKS),
    moq("Pipecat MoQ, WebTransport", 7_040, _OF_FRAMEWORKS, has_http=True),
    smallwebrtc("Pipecat SmallWebRTC", 7_010, _OF_FRAMEWORKS),
    livekit("LiveKit room", 7_011, _OF_FRAMEWORKS),
    replace(gateway("gateway, Chromium", 7_006, speech="tone"), browser="chromium"),
    replace(gateway("gateway, Firefox", 7_007, speech="tone"), browser="firefox"),
    replace(webrtc("WebRTC (Chromium, pion)", 7_008), browser="chromium"),
    replace(webrtc("WebRTC (Chromium, pion), signalling connected before", 7_009), browser="chromium", is_warm=True),
    smallwebrtc("Pipecat SmallWebRTC, Chromium", 7_012, _OF_FRAMEWORKS, browser="chromium"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """By way, over one link: of each call the ms to the first byte at the application and to the first one back.

    `ports` of the server are counted by protocol and port, signalling included; `failed` has why a framework's calls
    came to nothing.
    """

    times: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


async def measure(ways: Sequence[Way], delay_ms: int, count: int, in_browser: int) -> Measured:
    """Place the calls of all ways; a framework whose calls fail is left out, and what fails of the others is raised."""
    found = Measured()
    async with certificate() as files, EmulatedLink(LinkPath(Profile(delay_s=delay_ms / 1000))) as link:
        for way in ways:  # one at a time: the programs are not to wait for each other
            link.start_counting()
            began = time.monotonic()
            try:
                found.times[way.name] = await _calls(link, way, files, in_browser if way.browser else count)
            except (RuntimeError, TimeoutError) as error:
                if not way.is_framework:
                    raise
                found.failed[way.name] = f"its calls failed over {delay_ms} ms ({str(error) or 'no answer in time'})"
                continue
            found.ports[way.name] = len(link.path.server_ports)
            took_s = time.monotonic() - began
            print(f"{delay_ms} ms, {way.name}: {len(found.times[way.name])} calls in {took_s:.0f} s", flush=True)
    return found


async def _calls(link: EmulatedLink, way: Way, files: DevelopmentCertificate, count: int) -> list[tuple[float, float]]:
    async with servers(link, [way], files) as (server,):
        if way.browser is None:
            own = min(count, way.most_calls or count)
            program = await caller(link, way, files, "setup", count=own)
            try:
                calls = await program.calls(60 + 4 * own)
            finally:
                await program.stop()
        else:
            calls = await calls_in_browser(link, way, files, count)
        arrived = await server.frames()
    # a first call that only fetched a ticket is the server's, and not in the caller's list
    return [_times(call, frames) for call, frames in zip(calls, arrived[-len(calls) :], strict=True)]


def _times(call: CallTimes, frames: dict[int, float]) -> tuple[float, float]:
    assert call.back is not None
    return 1000 * (min(frames.values()) - call.began), 1000 * (call.back - call.began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="three calls a row in place of ten, no browsers, no frameworks, no 150 ms"
    )
    arguments = parser.parse_args()
    count, in_browser, delays = (3, 0, DELAYS_MS[:2]) if arguments.quick else (10, 4, DELAYS_MS)
    asked = [way for way in WAYS if not (arguments.quick and (way.browser or way.is_framework))]
    ways, missing = available(asked)
    missing |= {way.name: why for way in ways if way.browser and (why := browser_missing(way.browser))}
    ways = [way for way in ways if way.name not in missing]
    measured = {}
    for delay in delays:
        measured[delay] = asyncio.run(measure(ways, delay, count, in_browser))
        missing |= measured[delay].failed
        ways = [way for way in ways if way.name not in missing]
    times = {delay: found.times for delay, found in measured.items()}
    ports = measured[delays[0]].ports
    document: dict[str, Any] = {}
    rows: list[list[object]] = []
    for way in ways:
        there = {delay: [each[0] for each in times[delay][way.name]] for delay in delays}
        back = {delay: [each[1] for each in times[delay][way.name]] for delay in delays}
        trips = [_round_trips(direction, delays[0], delays[-1]) for direction in (there, back)]
        document[way.name] = {
            "server_ports": ports[way.name],
            "round_trips": {"there": trips[0], "back": trips[1]},
            "there_ms": {str(delay): summary(there[delay]) for delay in delays},
            "back_ms": {str(delay): summary(back[delay]) for delay in delays},
        }
        medians = [f"{percentile(there[d], 50):.0f} / {percentile(back[d], 50):.0f}" for d in delays]
        rows.append([way.name, len(there[delays[0]]), *(f"{each:.2f}" for each in trips), *medians, ports[way.name]])
    title = "From the start of a call to its first audio byte at the application / back; median of n\n\n"
    header = [
        "way",
        "n",
        "round trips there",
        "and back",
        *(f"{delay} ms one way, ms" for delay in delays),
        "server ports",
    ]
    peers = described(ways)
    for way in ways:
        if way.browser:
            peers[way.name]["version"] += f", {version(way.browser)}"
    left_out = "".join(f"\n\n{name} did not take part: {why}." for name, why in missing.items())
    how = {"is_quick": arguments.quick, "seeds": [1], "calls": count, "peers": peers, "missing": missing}
    save("setup_time", {**how, "ways": document}, title + table(header, rows) + left_out)


def _round_trips(values: dict[int, list[float]], shortest: int, longest: int) -> float:
    """The slope: ms for each ms of round trip, between the quickest calls, which waited least for a processor."""
    growth = min(values[longest]) - min(values[shortest])
    return round(growth / (2 * (longest - shortest)), 2)


if __name__ == "__main__":
    main()
