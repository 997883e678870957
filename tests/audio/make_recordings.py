"""Make the spoken orders in this directory and the demonstration's caller, with flite and espeak-ng.

Run it from the repository's root: python -m tests.audio.make_recordings. No voice is the agent's own.
"""

from __future__ import annotations

import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray
from pocketsphinx import Decoder, get_model_path

from voice_gateway.agents.order.hearing.language_model import dictionary
from voice_gateway.agents.order.menu import default_menu

RATE_HZ = 16_000
ROOT = Path(__file__).resolve().parents[2]
# flite has no entry for these two words and guesses their sound from the spelling.
RESPELLED = {"matcha": "mahcha", "latte": "latay"}

RECORDINGS = {
    "rms_two_drinks": ("rms", "I'd like two small jasmine green teas with no ice and boba."),
    "rms_change": ("rms", "Change the matcha latte to large."),
    "rms_read_back": ("rms", "Can you read it back?"),
    "rms_off_menu": ("rms", "My grandmother drove her old truck to the library yesterday afternoon."),
    "slt_order": ("slt", "Can I have a brown sugar milk tea with half sugar and grass jelly?"),
    "slt_remove": ("slt", "Remove the matcha latte."),
    "slt_total": ("slt", "What's the total?"),
    "slt_done": ("slt", "That's all."),
    "awb_confirm": ("awb", "Yes, that's right."),
    "espeak_place": ("en-us", "Place the order."),
}
CALLER_VOICE = "rms"
CALLER_SENTENCES = ("Large taro milk tea, oat milk, seventy five percent sugar,", "and add a matcha latte.")
CALLER_TOML = """# Seconds from the start of caller.wav: sentences by their samples, words by forced alignment.
end = {end:.2f}

[first_sentence]
start = {first_start:.2f}
end = {first_end:.2f}

[taro]
start = {taro_start:.2f}
end = {taro_end:.2f}

[second_sentence]
start = {second_start:.2f}
end = {second_end:.2f}

[matcha]
start = {matcha_start:.2f}
end = {matcha_end:.2f}
"""
LEAD_IN_S = 0.5
PAUSE_S = 0.38
TAIL_S = 0.3


def main() -> None:
    """Write all recordings."""
    for name, (voice, text) in RECORDINGS.items():
        write(ROOT / "tests" / "audio" / f"{name}.wav", [silence(0.3), spoken(voice, text), silence(0.3)])
    first, second = (spoken(CALLER_VOICE, text) for text in CALLER_SENTENCES)
    parts = [silence(LEAD_IN_S), first, silence(PAUSE_S), second, silence(TAIL_S)]
    write(ROOT / "deploy" / "local" / "caller.wav", parts)
    starts = np.cumsum([0, *(len(part) for part in parts)]) / RATE_HZ
    words = word_times(np.concatenate(parts))
    (ROOT / "deploy" / "local" / "caller.toml").write_text(CALLER_TOML.format(
        first_start=starts[1], first_end=starts[2], taro_start=words["taro"][0], taro_end=words["taro"][1],
        second_start=starts[3], second_end=starts[4], matcha_start=words["matcha"][0], matcha_end=words["matcha"][1],
        end=starts[5],
    ))  # fmt: skip


def word_times(samples: NDArray[np.float64]) -> dict[str, tuple[float, float]]:
    """Return when each word of the caller begins and ends, in seconds, by forced alignment."""
    menu = default_menu()
    with tempfile.TemporaryDirectory() as folder:
        entries = Path(get_model_path("en-us/cmudict-en-us.dict")).read_text("utf-8").splitlines()
        path = Path(folder) / "menu.dict"
        path.write_text(dictionary(menu, entries), "utf-8")
        decoder = Decoder(hmm=get_model_path("en-us/en-us"), dict=str(path), lm=None, dither=True, loglevel="FATAL")
        decoder.set_align_text(" ".join(CALLER_SENTENCES).lower().replace(",", "").replace(".", ""))
        decoder.start_utt()
        decoder.process_raw(samples.astype("<i2").tobytes(), False, True)
        decoder.end_utt()
        frames_per_s = decoder.config["frate"]
        return {
            segment.word.partition("(")[0]: (segment.start_frame / frames_per_s, (segment.end_frame + 1) / frames_per_s)
            for segment in decoder.seg()
        }


def spoken(voice: str, text: str) -> NDArray[np.float64]:
    """Return the text's samples without the silence around them, at a steady level."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        if voice.startswith("en"):
            subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", path, text], check=True)
        else:
            for word, respelled in RESPELLED.items():
                text = text.replace(word, respelled)
            subprocess.run(["flite", "-voice", voice, "-t", text, "-o", path], check=True)
        with wave.open(str(path)) as recording:
            rate_hz = recording.getframerate()
            samples = np.frombuffer(recording.readframes(recording.getnframes()), "<i2").astype(float)
    samples = soxr.resample(samples, rate_hz, RATE_HZ)
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    samples = samples[max(loud[0] - RATE_HZ // 50, 0) : loud[-1] + RATE_HZ // 25]
    return samples * (2_200 / np.sqrt(np.mean(samples**2)))


def silence(seconds: float) -> NDArray[np.float64]:
    """Return that much of nothing."""
    return np.zeros(round(seconds * RATE_HZ))


def write(path: Path, parts: list[NDArray[np.float64]]) -> None:
    """Write the parts one behind the other, over a room's faint noise."""
    samples = np.concatenate(parts)
    samples += np.random.default_rng(0).normal(0, 6, len(samples))
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(RATE_HZ)
        recording.writeframes(np.clip(np.rint(samples), -32_768, 32_767).astype("<i2").tobytes())
    print(f"{path.relative_to(ROOT)}: {len(samples) / RATE_HZ:.2f} s")


if __name__ == "__main__":
    main()
