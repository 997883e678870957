"""The silence in 8 s of speech, made in 2 s, that meets an outage 0.4 s after its beginning is played.

Every way runs over a path of its own (50 ms one way) whose outage begins with its own speech. The gateway's client is
the production one and its silence is that of its player. The peers' frames meet an ideal player, which begins with the
first frame; that of the WebSocket waits for a late frame, that of WebRTC counts a frame that is more than 0.2 s late as
not played.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any, Final

from bench.figures import percentile, save, summary, table
from bench.peers.timing import FRAME_S, SPEECH_FRAMES
from bench.peers.ways import (
    Program,
    Way,
    available,
    caller,
    certificate,
    described,
    first_arrivals,
    gateway,
    servers,
    webrtc,
    websocket,
)
from testbed.link import EmulatedLink, LinkPath
from testbed.simnet.links import Profile

OUTAGES_S: Final = (0.0, 0.2, 1.0, 3.0)
_QUICK_OUTAGES_S: Final = (0.0, 1.0)
ONE_WAY_S: Final = 0.05
OUTAGE_AFTER_S: Final = 0.4
JITTER_BUFFER_S: Final = 0.2
_LISTEN_S: Final = 18.0
WAYS: Final = (
    gateway("gateway", 7_011, speech="long"),
    websocket("WebSocket, speech sent as it is made", 7_012, "fast"),
    websocket("WebSocket, speech sent in real time", 7_013, "real"),
    webrtc("WebRTC (pion)", 7_014),
)


def silence_of_player(played: Sequence[float]) -> float:
    """The ms between the first and the last frame played in which none was played."""
    span = played[-1] - played[0] + FRAME_S
    return max(0.0, 1000 * (span - len(played) * FRAME_S))


def silence_if_waiting(arrived: dict[int, float], count: int = SPEECH_FRAMES) -> float:
    """The ms that a player waits for frames which are late; a frame that never comes is silence, too."""
    due, waited, missing = arrived[min(arrived)], 0.0, 0
    for sequence in range(count):
        at = arrived.get(sequence)
        if at is None:
            missing += 1
        elif at > due:
            waited += at - due
            due = at
        due += FRAME_S
    return 1000 * (waited + missing * FRAME_S)


def silence_if_dropping(arrived: dict[int, float], count: int = SPEECH_FRAMES) -> float:
    """The ms of frames that are missing or later than the jitter buffer is long."""
    start = min(at - sequence * FRAME_S for sequence, at in arrived.items())
    played = sum(at <= start + sequence * FRAME_S + JITTER_BUFFER_S for sequence, at in arrived.items())
    return 1000 * (count - played) * FRAME_S


async def one_round(ways: Sequence[Way], outage_s: float) -> dict[str, float]:
    """By way, the silence in ms of one answer."""
    paths = {way.port: LinkPath(Profile(delay_s=ONE_WAY_S)) for way in ways}
    async with (
        certificate() as files,
        EmulatedLink(LinkPath(Profile()), by_port=paths) as link,
        servers(link, ways, files),
    ):

        async def answered(way: Way) -> float:
            program = await caller(link, way, files, "listen", seconds=_LISTEN_S)
            await program.until("first")
            if outage_s:
                link.black_out(outage_s, after_s=OUTAGE_AFTER_S, path=paths[way.port])
            return await _silence(way, program)

        return dict(zip([way.name for way in ways], await asyncio.gather(*map(answered, ways)), strict=True))


async def _silence(way: Way, program: Program) -> float:
    (call,) = await program.calls(_LISTEN_S + 20)
    if way.kind == "gateway":
        missing = SPEECH_FRAMES - len(call.received)
        return silence_of_player([at for _, at in call.received]) + max(0, missing) * 1000 * FRAME_S
    arrived = first_arrivals(call.received)
    return silence_if_waiting(arrived) if way.kind == "websocket" else silence_if_dropping(arrived)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=3, help="by each way, for each outage")
    parser.add_argument("--quick", action="store_true", help="one answer, without an outage and with one of 1 s")
    arguments = parser.parse_args()
    count, outages_s = (1, _QUICK_OUTAGES_S) if arguments.quick else (arguments.answers, OUTAGES_S)
    ways, missing = available(WAYS)
    silences: dict[str, dict[float, list[float]]] = {way.name: {each: [] for each in outages_s} for way in ways}
    for outage_s in outages_s:
        for _ in range(count):
            for name, silence in asyncio.run(one_round(ways, outage_s)).items():
                silences[name][outage_s].append(silence)
        print(f"outage of {outage_s:g} s: {count} answers by each way", flush=True)
    header = ["way", "n", *(f"outage of {each:g} s" if each else "no outage (control)" for each in outages_s)]
    rows = [
        [name, count, *(f"{percentile(values, 50):.0f} / {max(values):.0f}" for values in by_outage.values())]
        for name, by_outage in silences.items()
    ]
    document: dict[str, Any] = {
        name: {f"{outage:g}": summary(values) for outage, values in by_outage.items()}
        for name, by_outage in silences.items()
    }
    how = {"is_quick": arguments.quick, "seeds": [1], "peers": described(ways), "missing": missing}
    title = "Silence in 8 s of speech that is made in 2 s, ms, median / longest\n\n"
    save("answering", {**how, "silence_ms": document}, title + table(header, rows))


if __name__ == "__main__":
    main()
