"""The study's plots, small enough to be committed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from bench.scale.inputs import Figures
from bench.scale.model.worker import WorkerModel
from bench.scale.study import UNEVENNESS, Study

_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#1f5a92", "#d9822b", "#3c8d5a", "#b5322c", "#8a8f98"
_COLOURS: Final = (_BLUE, _ORANGE, _GREEN, _RED)


def draw(study: Study, figures: Figures, folder: Path) -> list[Path]:
    """Write all plots into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "scale"})
    made = []
    for name, plot in (
        ("limits", _limits),
        ("tables", _tables),
        ("spread", _spread),
        ("site-loss", _site_loss),
        ("update", _update),
    ):
        figure = plot(study, figures)
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=90, metadata={"Software": None})
        plt.close(figure)
        made.append(path)
    return made


def _panels(count: int, width: float = 9.0, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    figure, axes = plt.subplots(1, count, figsize=(width, height), layout="constrained", squeeze=False)
    return figure, list(axes[0])


def _limits(study: Study, figures: Figures) -> Figure:
    figure, (left, right) = _panels(2)
    limits = study.limits[::-1]
    bars = left.barh([each.resource for each in limits], [each.sessions_per_unit for each in limits], color=_BLUE)
    left.set_xscale("log")
    left.set_xlim(50, 3e6)
    left.bar_label(
        bars, [f"{each.sessions_per_unit:,.0f} a {_short(each.unit)}" for each in limits], padding=3, fontsize=8
    )
    left.set_xlabel("sessions until one unit is full")
    left.set_title("Which resource fills first")
    sessions = np.arange(4, 231, 2)
    worker = WorkerModel.fitted(figures)
    right.plot(sessions, worker.use(sessions), color=_BLUE, label="model")
    points = {16: figures["session_cpu_ms_at_16"], 150: figures["session_cpu_ms_at_150"]}
    right.plot(16, 16 * points[16] / 1000, "o", color=_GREY, label="measured, fitted to")
    right.plot(figures["sessions_carried"], 1, "o", color=_GREY)
    right.errorbar(150, 150 * points[150] / 1000, yerr=[[150 * 0.25 / 1000], [150 * 0.25 / 1000]], fmt="s",
                   color=_RED, capsize=3, label="measured, forecast")  # fmt: skip
    right.axhline(1, color=_GREY, linewidth=0.8, linestyle=":")
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    right.set_xlabel("sessions on one worker")
    right.set_ylabel("of its core")
    right.set_title("What a core is used to")
    right.legend(frameon=False, loc="upper left")
    return figure


def _short(unit: str) -> str:
    return unit.split(" (")[0].replace(" of 16 cores", "")


def _tables(study: Study, figures: Figures) -> Figure:
    figure, (left, right) = _panels(2)
    backends = [each.backends for each in study.evenness]
    left.fill_between(backends, [each.least for each in study.evenness], [each.most for each in study.evenness],
                      color=_BLUE, alpha=0.25, label="least to most")  # fmt: skip
    left.plot(backends, [1 + each.spread for each in study.evenness], color=_BLUE, label="1 + standard deviation")
    left.axhspan(1 - UNEVENNESS, 1 + UNEVENNESS, color=_GREEN, alpha=0.3, label="within 1 %")
    left.set_xscale("log")
    left.set_xlabel("workers behind one load balancer")
    left.set_ylabel("share of new connections, by the mean")
    left.set_title("Evenness of the Maglev table")
    left.legend(frameon=False, loc="upper left")
    for colour, change in zip(_COLOURS, ("a tenth leaves", "one leaves", "one joins"), strict=False):
        rows = [each for each in study.disruption if each.change == change]
        pools = [each.backends for each in rows]
        right.plot(pools, [each.slots_moved for each in rows], "o-", markersize=3, color=colour, label=change)
        right.plot(pools, [each.unavoidable for each in rows], color=colour, linestyle=":")
    right.plot([], [], color=_GREY, linestyle=":", label="unavoidable")
    right.set_xscale("log")
    right.set_yscale("log")
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    right.set_xlabel("workers before the change")
    right.set_title("Slots of the table that change")
    right.legend(frameon=False, loc="lower left")
    return figure


def _spread(study: Study, figures: Figures) -> Figure:
    figure, (axes,) = _panels(1, 6.5, 3.4)
    full = study.session.worker.full
    for colour, way in zip(_COLOURS, ("Maglev table", "less loaded of two"), strict=False):
        rows = [each for each in study.headroom if each.way == way]
        shares = [each.mean / full for each in rows]
        axes.plot(shares, [each.most / full for each in rows], "o-", color=colour, label=f"fullest worker: {way}")
    axes.plot(shares, shares, color=_GREY, linestyle=":", label="mean")
    axes.axhline(1, color=_RED, linewidth=1)
    axes.text(shares[0], 1.01, "a full core", color=_RED, va="bottom")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("planned sessions per worker, by what a core carries")
    axes.set_ylabel("sessions, by what a core carries")
    axes.set_title(f"Hot spots among {rows[0].workers:,} workers of a site")
    axes.legend(frameon=False, loc="lower right")
    return figure


def _site_loss(study: Study, figures: Figures) -> Figure:
    figure, (left, right) = _panels(2)
    for colour, sites in zip(_COLOURS, sorted({each.sites for each in study.losses}), strict=False):
        rows = [each for each in study.losses if each.sites == sites]
        use = [each.storm.use_after if not each.storm.given_up else np.nan for each in rows]
        left.plot([each.share for each in rows], use, "o-", color=colour,
                  label=f"{sites} sites")  # fmt: skip
        back = [each.storm.p99_s if not each.storm.given_up else np.nan for each in rows]
        right.plot([each.share for each in rows], back, "o-", color=colour, label=f"{sites} sites")
    left.axhline(1, color=_RED, linewidth=1)
    left.text(0.4, 1.02, "a full core", color=_RED, va="bottom")
    right.axhline(60, color=_RED, linewidth=1)
    right.text(0.4, 56, "callers give up", color=_RED, va="top")
    for axes in (left, right):
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("planned sessions, by what a core carries")
    left.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    left.set_ylabel("mean use of the cores that are left")
    left.set_title("After one site is lost")
    left.legend(frameon=False, loc="upper left")
    right.set_yscale("log")
    right.set_yticks([3, 5, 10, 20, 40, 60], ["3", "5", "10", "20", "40", "60"])
    right.minorticks_off()
    right.set_ylabel("s until 99 % of its calls are back")
    right.set_title("Storm of reconnects (no point: calls given up)")
    return figure


def _update(study: Study, figures: Figures) -> Figure:
    figure, (left, right) = _panels(2)
    full = study.session.worker.full
    shown = [
        each for each in study.updates if each.batch_share == 0.1 or len({u.batch_share for u in study.updates}) == 1
    ]
    for colour, each in zip(_COLOURS, shown, strict=False):
        minutes = [at / 60 for at, _, _ in each.series]
        left.plot(minutes, [most / full for _, _, most in each.series], "o-", markersize=3, color=colour,
                  label=f"{each.pause_s / 60:g} min between batches")  # fmt: skip
    left.set_title("Fullest worker, a tenth drains at a time")
    left.set_xlabel("minutes")
    left.set_ylabel("sessions, by what a core carries")
    for colour, batch in zip(_COLOURS, sorted({each.batch_share for each in study.updates}), strict=False):
        rows = [each for each in study.updates if each.batch_share == batch]
        right.plot([each.seconds / 60 for each in rows], [each.most_sessions / full for each in rows], "o-",
                   markersize=4, color=colour, label=f"{batch:.0%} at a time")  # fmt: skip
    right.set_xscale("log")
    right.set_xticks([5, 10, 20, 50, 100, 200, 500], ["5", "10", "20", "50", "100", "200", "500"])
    right.minorticks_off()
    right.set_xlabel("minutes that the update takes")
    right.set_title("Pace and the fullest worker")
    for axes in (left, right):
        axes.axhline(1, color=_RED, linewidth=1)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(frameon=False, loc="upper right")
    return figure
