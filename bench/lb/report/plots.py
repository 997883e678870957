"""The same figures as pictures."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from bench.lb.measure import DIRECT
from bench.lb.report.results import Results


def draw(results: Results, folder: Path) -> list[Path]:
    """Write the plots whose figures were measured, and return their paths."""
    pictures = [("throughput", _throughput), ("latency", _latency), ("memory", _memory)]
    written = []
    for name, picture in pictures:
        if getattr(results, name):
            figure = picture(results)
            figure.savefig(folder / f"{name}.png", dpi=120)
            plt.close(figure)
            written.append(folder / f"{name}.png")
    return written


def _throughput(results: Results) -> Figure:
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    names = list(results.versions)
    kinds = dict.fromkeys((p.traffic, p.backends_batch) for p in results.throughput if p.size == 200)
    for i, (traffic, is_batched) in enumerate(kinds):
        points = [results.capacity_of(name, traffic, 200, is_batched=is_batched) for name in names]
        costs = [point.cpu_ns_per_datagram if point else None for point in points]
        speeds = [1e6 / cost if cost else 0.0 for cost in costs]
        label = f"{traffic}, {'batching' if is_batched else 'plain'} backends"
        axes.bar([x + 0.1 * i for x in range(len(names))], speeds, 0.1, label=label)
    axes.set_xticks([x + 0.05 * (len(kinds) - 1) for x in range(len(names))], names, rotation=10)
    axes.set_ylabel("thousand datagrams per second of one core")
    axes.set_title("Capacity, 200 bytes, loopback")
    axes.legend(fontsize="small")
    return figure


def _latency(results: Results) -> Figure:
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True, layout="constrained")
    for axes, is_batched in zip(panels, (False, True), strict=True):
        for name in results.versions:
            points = [p for p in results.latency if (p.implementation, p.backends_batch) == (name, is_batched)]
            if name == DIRECT or not points:
                continue
            shares = [100 * (point.share or 0) for point in points]
            (line,) = axes.plot(shares, [point.latency_us(0.5) for point in points], "o-", label=name)
            axes.plot(shares, [point.latency_us(0.99) for point in points], "^:", color=line.get_color())
        axes.set_yscale("log")
        axes.set_xlabel("% of the implementation's own capacity (0: 1 kpps)")
        axes.set_title("batching backends" if is_batched else "plain backends")
    panels[0].set_ylabel("round trip, microseconds: p50 (line), p99 (dots)")
    panels[0].legend(fontsize="small")
    return figure


def _memory(results: Results) -> Figure:
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for run in results.memory:
        addresses = [max(1, sample.addresses) for sample in run.samples]
        panels[0].plot(addresses, [s.resident_bytes / 1e6 for s in run.samples], ".-", label=run.implementation)
        panels[1].plot(addresses, [s.open_files for s in run.samples], ".-", label=run.implementation)
    for axes, what in zip(panels, ("resident memory, MB", "open files"), strict=True):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("client addresses so far")
        axes.set_ylabel(what)
    panels[0].legend(fontsize="small")
    return figure
