"""How well the order agent understands strangers: 16 kHz and the telephone, complete and with audio missing.

Three flite voices, none of them the agent's own, say orders that no test and no setting was chosen by. Every order goes
through the agent's own turn-taking, bandwidth extension and recogniser. Audio is lost in bursts of 100 ms, as it is
without a transport that sends it again, and silence stands in its place. What a transport does about losses is not
measured here: one that delivers every frame gives the rows without loss. `make bench-words`; needs flite.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import soxr

from bench.figures import save, table
from gateway.agent.base import HeardAudio, Understood
from gateway.agent.order.agent import OrderAgent
from gateway.agent.order.dialogue import Dialogue, answer
from gateway.agent.order.grammar import Lexicon
from gateway.agent.order.menu import default_menu
from gateway.agent.order.parse import parse
from gateway.agent.order.recogniser import InlineRecogniser
from gateway.audio.codec import FrameDecoder
from gateway.audio.g711 import pcmu_encode
from gateway.wire import AudioFrame, Codec, Malformed

VOICES: Final = ("awb", "rms", "slt")
ORDERS: Final = (
    "a small taro milk tea with no sugar",
    "two large matcha lattes with oat milk",
    "i would like a medium jasmine green tea with less ice",
    "can i get a large brown sugar milk tea with boba",
    "one small matcha latte with half sugar",
    "a large jasmine green tea no ice please",
    "three medium taro milk teas with grass jelly",
    "could i have a small brown sugar milk tea with soy milk",
    "a medium taro milk tea seventy five percent sugar",
    "two small jasmine green teas with boba and no sugar",
)
MENU: Final = default_menu()
LEXICON: Final = Lexicon(MENU)
LOSSES: Final = (0.0, 0.02, 0.05)
BURST_FRAMES: Final = 5
RATE_HZ: Final = 16_000
_SPELT: Final = {"matcha": "mahcha", "latte": "latay"}
"""Words that flite guesses wrongly."""


class _Mute:
    def synthesize(self, text: str) -> Iterator[bytes]:
        yield b""


@dataclass(slots=True)
class Score:
    """Of `words` said, `errors` were wrong; of `orders`, `right` became what was ordered."""

    words: int = 0
    errors: int = 0
    orders: int = 0
    right: int = 0


async def measure(repeats: int) -> list[list[Any]]:
    """Return the table's rows; each lossy condition is met `repeats` times with other losses."""
    agent = OrderAgent(recogniser=InlineRecogniser(MENU), speech=_Mute(), is_inline=True)
    await agent.open()
    rows = []
    try:
        spoken = {(voice, text): _spoken(voice, text) for voice in VOICES for text in ORDERS}
        for path, frames_of in (("16 kHz", _wideband), ("telephone", _telephone)):
            for loss in LOSSES:
                scores = {voice: Score() for voice in VOICES}
                for (voice, text), samples in spoken.items():
                    for seed in range(repeats if loss else 1):
                        frames = _lossy(frames_of(samples), loss, np.random.default_rng(seed))
                        _judge(scores[voice], text, *_understood(agent, frames))
                rows += [[path, f"{loss:.0%}", voice, *_figures(score)] for voice, score in scores.items()]
                rows.append([path, f"{loss:.0%}", "all", *_figures(_sum(scores.values()))])
    finally:
        await agent.close()
    return rows


def _understood(agent: OrderAgent, frames: list[bytes]) -> tuple[list[str], list[Any]]:
    words: list[str] = []
    state: dict[str, Any] = {}

    def emit(event: object) -> None:
        if isinstance(event, Understood):
            words.extend(event.text.split())
            state.update(event.state or {})

    conversation = agent.converse(emit, None)
    for sequence, pcm in enumerate(frames):
        conversation.hear(HeardAudio(sequence, pcm))
    conversation.finish()
    conversation.close()
    return words, state.get("items", [])


def _judge(score: Score, text: str, words: list[str], items: list[Any]) -> None:
    said = text.split()
    wanted, _ = answer(Dialogue(MENU), parse(said, LEXICON))
    score.words += len(said)
    score.errors += distance(said, words)
    score.orders += 1
    score.right += items == wanted.to_state()["items"]


def distance(said: list[str], heard: list[str]) -> int:
    """The fewest words to leave out, put in or replace that make the one of the other."""
    row = list(range(len(heard) + 1))
    for number, word in enumerate(said, 1):
        diagonal, row[0] = row[0], number
        for place, other in enumerate(heard, 1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (word != other))
    return row[-1]


def _wideband(samples: np.ndarray[Any, Any]) -> list[bytes]:
    pcm = samples.astype("<i2").tobytes()
    return [pcm[at : at + 640] for at in range(0, len(pcm) - 639, 640)]


def _telephone(samples: np.ndarray[Any, Any]) -> list[bytes]:
    """Through mu-law at 8 kHz and the gateway's own decoder."""
    narrow = np.clip(np.rint(soxr.resample(samples, RATE_HZ, 8_000)), -32_768, 32_767).astype("<i2")
    coded = pcmu_encode(narrow.tobytes())
    decoder = FrameDecoder(RATE_HZ)
    frames = []
    for number in range(len(coded) // 160):
        frame = AudioFrame(number, number * 960, Codec.PCMU, coded[160 * number : 160 * (number + 1)])
        pcm = decoder.decode(frame)
        if isinstance(pcm, Malformed):
            raise ValueError(pcm.reason)
        frames.append(pcm)
    return frames


def _lossy(frames: list[bytes], loss: float, rng: np.random.Generator) -> list[bytes]:
    """Silence in place of bursts of frames, `loss` of all of them on average."""
    kept, left = [], 0
    for frame in frames:
        if not left and rng.random() < loss / BURST_FRAMES:
            left = BURST_FRAMES
        kept.append(bytes(len(frame)) if left else frame)
        left = max(0, left - 1)
    return kept


def _spoken(voice: str, text: str) -> np.ndarray[Any, Any]:
    for word, spelt in _SPELT.items():
        text = text.replace(word, spelt)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        recorded, rate_hz = _read(path)
    samples = soxr.resample(recorded, rate_hz, RATE_HZ)
    samples *= 2_200 / np.sqrt(np.mean(samples**2))
    quiet = np.zeros(RATE_HZ)
    whole = np.concatenate((quiet[: RATE_HZ // 2], samples, quiet, quiet))
    whole += np.random.default_rng(0).normal(0, 6, len(whole))
    clipped: np.ndarray[Any, Any] = np.clip(np.rint(whole), -32_768, 32_767)
    return clipped


def _read(path: Path) -> tuple[np.ndarray[Any, Any], int]:
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float), file.getframerate()


def _figures(score: Score) -> list[str]:
    return [f"{score.errors / score.words:.1%}", f"{score.right} of {score.orders}"]


def _sum(scores: Any) -> Score:
    total = Score()
    for each in scores:
        total.words += each.words
        total.errors += each.errors
        total.orders += each.orders
        total.right += each.right
    return total


def main() -> None:
    """Measure, save and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="how often each lossy condition is met")
    repeats = parser.parse_args().repeats
    if shutil.which("flite") is None:
        raise SystemExit("flite speaks the orders; on Debian: apt-get install flite")
    rows = asyncio.run(measure(repeats))
    header = ["path", "audio lost", "voice", "words wrong", "orders right"]
    text = f"The order agent, {len(ORDERS)} orders by {len(VOICES)} voices, lossy rows {repeats} times\n\n"
    save("words", {"rows": [dict(zip(header, row, strict=True)) for row in rows]}, text + table(header, rows))


if __name__ == "__main__":
    main()
