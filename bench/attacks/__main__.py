"""`make bench-attacks`: each attack in turn against one worker that holds an honest call; about ten minutes."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.attacks.play import ATTACKS, OF_HONEST_CLIENTS
from bench.attacks.target import Target, attacked_worker, counts
from bench.figures import percentile, save, table
from deploy.local.cluster import CERTIFICATES

STALL_P99_MS = 50.0
GROWTH_MB = 20.0
SAMPLE_MS = 5
AWAKE_TIMEOUT_S = 60.0
HONEST = {
    "newcomers.jsonl": {"ready_s": "newcomers", "resumed_s": "resumes"},
    "probes.jsonl": {"ready_s": "probes"},
}
"""The files of `bench.attacks.callers`: what each key stands for, `null` where it failed."""
QUICK_S, QUICK_SETTLE_S = 4.0, 3.0
IN_FLIGHT = 4
"""Sessions of honest clients that no line counts: a newcomer's and its resume, as the attack begins and as counters are
read after it."""
SETTLE_S = 14.0
"""After an attack, before memory is read: a connection that never starts a session is given up after 10 s."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one attack did while it went on, and how much memory there was before and after it.

    `late_ms` is how late the event loop was for a callback, `own_ms` what of that is the worker's own: no other process
    had its processor. `tried` and `done` count what honest clients asked for.
    """

    name: str
    late_ms: tuple[float, ...]
    own_ms: tuple[float, ...]
    before_mb: float
    peak_mb: float
    after_mb: float
    tried: Mapping[str, int]
    done: Mapping[str, int]
    missed: tuple[str, ...] = ()
    """Counters of the worker that would have grown, had the attack got to what it is for."""

    def faults(self, start_mb: float) -> list[str]:
        """Say which bounds it broke; the bound on memory is beyond the worker's own before all attacks."""
        found = [f"{self.name}: it did not get to what it is for, {counter} did not grow" for counter in self.missed]
        if (stall := percentile(self.late_ms, 99)) > STALL_P99_MS:
            found.append(
                f"{self.name}: the loop was {stall:.1f} ms late at p99, the bound is {STALL_P99_MS:g} "
                f"(its own is {percentile(self.own_ms, 99):.1f})"
            )
        if self.after_mb - start_mb > GROWTH_MB:
            found.append(f"{self.name}: memory grew by {self.after_mb - start_mb:.1f} MB, the bound is {GROWTH_MB:g}")
        for what, count in self.tried.items():
            if self.done[what] < count:
                found.append(f"{self.name}: {count - self.done[what]} of {count} {what} failed")
        return found


def main() -> int:
    arguments = _arguments()
    seconds, settle_s = (QUICK_S, QUICK_SETTLE_S) if arguments.quick else (arguments.seconds, SETTLE_S)
    cores = sorted(os.sched_getaffinity(0))
    names = [name for name in ATTACKS if not arguments.only or any(each in name for each in arguments.only)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with attacked_worker(folder, CERTIFICATES, cores[0]) as (target, worker):
            callers = _start_callers(target, folder)
            start_mb = _lines(folder / "worker.jsonl")[-1]["rss_mb"]
            try:
                findings = [_play(each, target, folder, seconds, settle_s, cores[-1]) for each in names]
                total = counts(target)
            finally:
                callers.terminate()
                callers.wait(90)
                if arguments.log:
                    Path(arguments.log).write_bytes((folder / "worker.log").read_bytes())
                if worker.poll() is not None:
                    print(f"the worker ended with status {worker.returncode}", file=sys.stderr)
            call = json.loads((folder / "call.json").read_text())
        log = (folder / "worker.log").read_text(errors="replace")
    tracebacks = log.count("Traceback (most recent call last)") + log.count('"exception"')
    faults = [fault for finding in findings for fault in finding.faults(start_mb)]
    lost = call["frames_sent"] - call["frames_acked"]
    if lost or call["fault"] or call["resumes"]:
        faults.append(f"the call: {lost} frames lost, {call['resumes']} resumes, {call['fault'] or 'no fault'}")
    if tracebacks:
        faults.append(f"{tracebacks} tracebacks in the log")
    _report(findings, call, start_mb, lost, tracebacks, len(log), faults)
    if arguments.counters:
        Path(arguments.counters).write_text(json.dumps(total, indent=1))
    return 1 if faults else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each attack goes on")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_S:g} s each: too short for the bound on memory to mean much"
    )
    parser.add_argument("--only", nargs="*", help="attacks whose name holds one of these words")
    parser.add_argument("--counters", help="where to keep the worker's counters, as JSON")
    parser.add_argument("--log", help="where to keep the worker's log")
    return parser.parse_args()


def _start_callers(target: Target, folder: Path) -> subprocess.Popen[bytes]:
    callers = subprocess.Popen([sys.executable, "-m", "bench.attacks.callers", target.as_json(), str(folder)])
    deadline = time.monotonic() + 30
    while not (folder / "call.started").exists():
        if time.monotonic() > deadline or callers.poll() is not None:
            raise RuntimeError("the honest call did not begin")
        time.sleep(0.1)
    time.sleep(SETTLE_S)
    return callers


def _play(name: str, target: Target, folder: Path, seconds: float, settle_s: float, core: int) -> Finding:
    began, before = time.monotonic(), counts(target)
    before_mb = _lines(folder / "worker.jsonl")[-1]["rss_mb"]
    command = [sys.executable, "-m", "bench.attacks.play", name, target.as_json(), str(seconds), str(core)]
    try:
        subprocess.run(command, timeout=seconds + 60, check=False)
    except subprocess.TimeoutExpired:
        print(f"{name}: the attacker did not come to its end", file=sys.stderr)
    ended = time.monotonic()
    time.sleep(settle_s)
    _until_awake(folder, ended)
    lines = [line for line in _lines(folder / "worker.jsonl") if line["at"] > began]
    during = [line for line in lines if line["at"] <= ended + 1.0] or lines[:1]
    after = counts(target)
    tried, done = _honest(folder, began, ended)
    so_far, _ = _honest(folder, began, time.monotonic())
    finding = Finding(
        name,
        tuple(each for line in during for late in line["late_ms"] for each in overdue(late)),
        tuple(each for line in during for own in _own(line) for each in overdue(own)),
        before_mb,
        max(line["rss_mb"] for line in lines),
        lines[-1]["rss_mb"],
        tried,
        done,
        missed(ATTACKS[name].reaches, before, after, IN_FLIGHT + so_far["newcomers"] + so_far["resumes"]),
    )
    print(*_row(finding), *finding.missed, sep=" | ", flush=True)
    return finding


def missed(
    counters: Iterable[str], before: Mapping[str, float], after: Mapping[str, float], of_honest_clients: int
) -> tuple[str, ...]:
    """Return the counters that grew by no more than honest clients account for."""
    return tuple(
        each
        for each in counters
        if after.get(each, 0.0) - before.get(each, 0.0) <= (of_honest_clients if each in OF_HONEST_CLIENTS else 0)
    )


def _honest(folder: Path, began: float, ended: float) -> tuple[Counter[str], Counter[str]]:
    """Count what honest clients asked for while the attack went on, and what they got."""
    tried, done = Counter[str](), Counter[str]()
    for file, keys in HONEST.items():
        for line in _lines(folder / file):
            if began <= line["at"] <= ended:
                tried.update(keys.values())
                done.update(what for key, what in keys.items() if line[key] is not None)
    return tried, done


def _own(line: Mapping[str, Any]) -> list[float]:
    return [max(0.0, late - preempted) for late, preempted in zip(line["late_ms"], line["preempted_ms"], strict=True)]


def overdue(late_ms: float) -> list[float]:
    """Count a stall for as long as it lasts: so late would each sample have been that fell into it."""
    return [late_ms - waited for waited in range(0, max(1, math.ceil(late_ms)), SAMPLE_MS)]


def _until_awake(folder: Path, since: float) -> None:
    """Wait for a worker that still stands still after an attack, for a minute at most."""
    deadline = time.monotonic() + AWAKE_TIMEOUT_S
    while _lines(folder / "worker.jsonl")[-1]["at"] < since + 1.0:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the worker's event loop stands still {AWAKE_TIMEOUT_S:g} s after an attack")
        time.sleep(0.5)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def _row(finding: Finding) -> list[object]:
    late = finding.late_ms
    return [
        finding.name,
        len(late),
        *(f"{percentile(late, share):.1f}" for share in (50, 99, 100)),
        f"{percentile(finding.own_ms, 99):.1f}",
        f"{max(finding.own_ms):.1f}",
        f"{finding.before_mb:.0f} / {finding.peak_mb:.0f} / {finding.after_mb:.0f}",
        " / ".join(f"{finding.done[what]} of {count}" for what, count in finding.tried.items()),
    ]


def _report(
    findings: list[Finding],
    call: dict[str, Any],
    start_mb: float,
    lost: int,
    tracebacks: int,
    log_bytes: int,
    faults: list[str],
) -> None:
    header = [
        "Attack",
        "n",
        "late p50, ms",
        "p99",
        "longest",
        "its own p99",
        "longest",
        "memory before / peak / after, MB",
        " / ".join(what for keys in HONEST.values() for what in keys.values()),
    ]
    rtts = call["round_trips_ms"]
    lines = [
        table(header, [_row(finding) for finding in findings]),
        "",
        f"Bounds: p99 {STALL_P99_MS:g} ms, {GROWTH_MB:g} MB over the {start_mb:.0f} MB at the start, every newcomer, "
        "resume and probe, no frame lost.",
        f"The call beside them: {call['frames_sent']} frames in {call['duration_s']:.0f} s, {lost} lost, "
        f"{call['resumes']} resumes, round trip p50 {percentile(rtts, 50):.1f} ms, p99 {percentile(rtts, 99):.1f} ms "
        f"(n = {len(rtts)}).",
        f"Log: {log_bytes / 1000:.0f} KB, {tracebacks} tracebacks.",
        "",
        *(f"- {fault}" for fault in faults or ["all within their bounds"]),
    ]
    document = {
        "attacks": [
            {
                "name": each.name,
                "late_p99_ms": percentile(each.late_ms, 99),
                "late_max_ms": max(each.late_ms),
                "own_p99_ms": percentile(each.own_ms, 99),
                "before_mb": each.before_mb,
                "after_mb": each.after_mb,
                "honest": {what: [each.done[what], count] for what, count in each.tried.items()},
            }
            for each in findings
        ],
        "frames_lost": lost,
        "tracebacks": tracebacks,
        "faults": faults,
    }
    save("attacks", document, "\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
