"""How well the order agent understands unknown speakers, at 16 kHz and by telephone, with and without lost audio.

Three flite voices, none of them the agent's own, say orders that no test and no setting was chosen by. Every order goes
over a link that loses datagrams in bursts of 5, and through the agent's own turn-taking and recogniser.
"Without" each frame travels once, in a datagram of its own, and the decoder conceals what is lost. "Hybrid" and "one
stream" are calls of the client's SDK, in Opus, through the load balancer to a worker. A telephone call has no such
choice: Twilio sends it as one stream over TCP, to Twilio's transport, and what the telephone network lost before is
lost by every way. All is in virtual time. `make bench-words`; needs flite.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
from functools import partial
from typing import Final

from bench.figures import save, table
from bench.words.measure import PATHS, WAYS, Scores, measure
from bench.words.orders import ORDERS, VOICES
from bench.words.paths import LOSSES
from bench.words.score import total

FIGURES: Final = ("words wrong", "orders right")
HEADER: Final = ["path", "audio lost", "voice", *(f"{way}: {figure}" for way in WAYS for figure in FIGURES)]


def rows_of(path: str, scores: dict[str, Scores]) -> list[list[str]]:
    """The table's rows of one path, from the scores of each voice."""
    rows = []
    for loss in LOSSES:
        for voice in (*VOICES, "all"):
            of_voices = list(scores.values()) if voice == "all" else [scores[voice]]
            row = [path, f"{loss:.0%}", voice]
            for way in WAYS:
                met = [each[loss, way] for each in of_voices if (loss, way) in each]
                row += total(met).figures() if met else ["", ""]
            rows.append(row)
    return rows


def main() -> None:
    """Measure, save and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="how often each lossy condition is met")
    repeats = parser.parse_args().repeats
    if shutil.which("flite") is None:
        raise SystemExit("flite speaks the orders; on Debian: apt-get install flite")
    asked = [(path, voice) for path in PATHS for voice in VOICES]
    with multiprocessing.get_context("spawn").Pool() as pool:
        found = dict(zip(asked, pool.starmap(partial(measure, repeats=repeats), asked, chunksize=1), strict=True))
    rows = [row for path in PATHS for row in rows_of(path, {voice: found[path, voice] for voice in VOICES})]
    calls = total(score for scores in found.values() for (_, way), score in scores.items() if way != "without")
    text = (
        f"The order agent, {len(ORDERS)} orders by {len(VOICES)} voices, lossy rows {repeats} times\n\n"
        f"{table(HEADER, rows)}\n\n"
        f"In {calls.same} of {calls.orders} calls the agent received the complete recording, sample by sample, "
        "and understood the same."
    )
    calls_document = {"calls": calls.orders, "calls_as_complete": calls.same}
    save("words", {"rows": [dict(zip(HEADER, row, strict=True)) for row in rows], **calls_document}, text)


if __name__ == "__main__":
    main()
