"""Spectrograms of a converted sweep: every line beside the sweep comes from the converter."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from bench.audio.quality import run
from bench.audio.resamplers import RESAMPLERS

_SECONDS = 4.0


def draw(source_hz: int, target_hz: int, path: Path) -> None:
    """Write the spectrograms of a sweep over all that `source_hz` can hold, one for each converter."""
    time = np.arange(round(source_hz * _SECONDS)) / source_hz
    sweep = 16_000 * np.sin(np.pi * (source_hz / 2) / _SECONDS * time**2)
    figure, axes = plt.subplots(1, len(RESAMPLERS), figsize=(15, 3.6), sharey=True, layout="constrained")
    for panel, (name, make) in zip(axes, RESAMPLERS.items(), strict=True):
        made, _ = run(make(source_hz, target_hz), source_hz, sweep)
        image = panel.imshow(
            _spectrogram(made), origin="lower", aspect="auto", cmap="magma", vmin=-120, vmax=0,
            extent=(0, _SECONDS, 0, target_hz / 2000),
        )  # fmt: skip
        panel.set_title(name)
        panel.set_xlabel("s")
    axes[0].set_ylabel("kHz")
    figure.colorbar(image, ax=axes, label="dBFS")
    figure.suptitle(f"A sweep from 0 to {source_hz / 2000:g} kHz, from {source_hz} to {target_hz} Hz")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _spectrogram(samples: NDArray[np.float64], size: int = 512) -> NDArray[np.float64]:
    window = np.blackman(size)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: size // 4]
    power = np.abs(np.fft.rfft(frames * window, axis=1)) / window.sum() * 2 / 32_768
    return np.asarray(20 * np.log10(np.maximum(power, 1e-7)).T)
