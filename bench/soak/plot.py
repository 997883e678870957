"""Resident memory of each process over time, with the fitted lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

from bench.soak.memory import Slope


def draw(
    minutes: Sequence[float],
    mb: Mapping[str, Sequence[float]],
    slopes: Mapping[str, Slope],
    warm_up_min: float,
    path: Path,
) -> None:
    """Write a PNG; each process has a panel, for their levels differ more than they move."""
    figure, axes = plt.subplots(
        len(mb), 1, figsize=(9, 2.4 * len(mb)), sharex=True, layout="constrained", squeeze=False
    )
    for panel, (name, samples) in zip(axes[:, 0], mb.items(), strict=True):
        slope = slopes[name]
        panel.plot(minutes, samples, linewidth=1, color="tab:blue")
        fitted = [(at, each) for at, each in zip(minutes, samples, strict=True) if at >= warm_up_min]
        middle = sum(at for at, _ in fitted) / len(fitted)
        mean = sum(each for _, each in fitted) / len(fitted)
        line = [mean + slope.kb_per_min / 1000 * (at - middle) for at, _ in fitted]
        panel.plot([at for at, _ in fitted], line, color="tab:red", linewidth=1)
        panel.axvspan(0, warm_up_min, color="0.92")
        panel.set_title(f"{name}: {slope.kb_per_min:+.0f} ± {slope.error_kb_per_min:.0f} kB a minute", loc="left")
        panel.set_ylabel("RSS, MB")
        panel.grid(alpha=0.3)
    axes[-1, 0].set_xlabel("minutes (grey: left out of the fit)")
    figure.savefig(path, dpi=110)
    plt.close(figure)
