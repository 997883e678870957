"""Rate conversion for a voice path: delay, distortion and cost. `make bench-audio`."""

from __future__ import annotations

import argparse
import time
from typing import Final

import numpy as np

from bench.audio.batch import BatchResampler
from bench.audio.plots import draw
from bench.audio.quality import TONES_HZ, delay_ms, microseconds, rejection_db, sinad_db
from bench.audio.resamplers import RESAMPLERS, ours
from bench.figures import RESULTS, percentile, save, table
from voicelink.audio.frames import FRAME_MS

PAIRS: Final = ((8_000, 16_000), (8_000, 48_000), (24_000, 8_000), (48_000, 16_000), (24_000, 48_000))
SESSIONS: Final = 100
GOALS: Final = {"delay_ms": 5.0, "sinad_db": 95.0, "rejection_db": 95.0}


def measure(count: int) -> bool:
    """Measure, save and print everything; return whether the gateway's converter reaches its goals."""
    rows, document, is_good = [], {}, True
    for source_hz, target_hz in PAIRS:
        for name, make in RESAMPLERS.items():
            delay = delay_ms(make, source_hz, target_hz)
            sinads = [sinad_db(make, source_hz, target_hz, tone) for tone in TONES_HZ]
            rejection = rejection_db(make, source_hz, target_hz)
            taken = microseconds(make(source_hz, target_hz), source_hz, count)
            document[f"{source_hz} to {target_hz}, {name}"] = {
                "delay_ms": delay,
                "sinad_db": dict(zip(map(str, TONES_HZ), sinads, strict=True)),
                "rejection_db": rejection,
                "us_per_frame": {"n": count, "median": percentile(taken, 50), "p99": percentile(taken, 99)},
            }
            cost = f"{percentile(taken, 50):.0f} / {percentile(taken, 99):.0f}"
            decibels = [f"{value:.0f}" for value in (*sinads, rejection)]
            rows.append([f"{source_hz // 1000} → {target_hz // 1000}", name, f"{delay:.1f}", *decibels, cost])
            if make is ours:
                is_good &= delay <= GOALS["delay_ms"] and min(sinads) >= GOALS["sinad_db"]
                is_good &= rejection >= GOALS["rejection_db"]
    batched = [batch(source_hz, target_hz, count // 10) for source_hz, target_hz in PAIRS]
    header = ["kHz", "converter", "delay ms", *(f"SINAD {tone / 1000:.1f} kHz" for tone in TONES_HZ), "rejection dB"]
    text = f"Streaming rate conversion, frames of {FRAME_MS} ms, PCM16, tones at -1 dBFS, n = {count} frames\n\n"
    text += table([*header, "µs a frame, median / p99"], rows)
    text += f"\n\n{SESSIONS} sessions, µs for a frame of each, n = {count // 10}\n\n"
    text += table(["kHz", "one after the other", "in one product", "ratio"], [row for row, _ in batched])
    save("audio", {"pairs": document, "batched": [figures for _, figures in batched]}, text)
    for source_hz, target_hz in ((48_000, 16_000), (8_000, 48_000)):
        draw(source_hz, target_hz, RESULTS / f"audio-{source_hz // 1000}-to-{target_hz // 1000}.png")
    return is_good


def batch(source_hz: int, target_hz: int, count: int) -> tuple[list[str], dict[str, float]]:
    """What a frame of each of `SESSIONS` sessions takes, one after the other and together, turn and turn about."""
    samples = np.random.default_rng(3).normal(0, 3_000, source_hz * FRAME_MS // 1000)
    frames = [bytes(np.rint(samples).astype("<i2"))] * SESSIONS
    singles = [ours(source_hz, target_hz) for _ in frames]
    together = BatchResampler(source_hz, target_hz, SESSIONS)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(count):
        began = time.perf_counter()
        for convert, frame in zip(singles, frames, strict=True):
            convert(frame)
        between = time.perf_counter()
        together.push(frames)
        times[0].append((between - began) * 1e6)
        times[1].append((time.perf_counter() - between) * 1e6)
    alone_us, together_us = (percentile(each, 50) for each in times)
    row = [f"{source_hz // 1000} → {target_hz // 1000}", f"{alone_us:.0f}", f"{together_us:.0f}"]
    figures = {"source_hz": source_hz, "target_hz": target_hz, "alone_us": alone_us, "together_us": together_us}
    return [*row, f"{alone_us / together_us:.1f}"], figures


def main() -> None:
    """Run the benchmark; exit 1 where the gateway's converter misses a goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000, help="frames to time each converter with")
    if not measure(parser.parse_args().count):
        raise SystemExit(f"the gateway's converter misses a goal: {GOALS}")


if __name__ == "__main__":
    main()
