"""What `make bench` runs, and what it remembers of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench.report import __main__ as report
from bench.report.plan import Amount, Bench
from bench.report.results import read_runs

WANTED = {
    Bench("moving", "bench-moving", "Moves", 3): Amount(1),
    Bench("gaps", "bench-gaps", "Gaps", 3, environment=(("THREADS", "1"),)): Amount(1, ("--count", "5")),
    Bench("capacity", "bench-capacity", "Capacity", 3, tools=("no-such-program",)): Amount(1),
}


def test_failed_benchmark_runs_again_and_one_without_its_tools_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[list[str], str | None]] = []

    def run(command: list[str], env: dict[str, str], *, check: bool) -> subprocess.CompletedProcess[bytes]:
        ran.append((command[2:], env.get("THREADS")))
        if command[2] == "bench.moving":
            (tmp_path / "moving.json").write_text("{}")
        return subprocess.CompletedProcess(command, int(command[2] == "bench.gaps"))

    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "commit", lambda: "abc")
    monkeypatch.setattr(subprocess, "run", run)
    for _ in range(2):
        assert report.run_missing(WANTED, is_quick=False) == ["bench.gaps"]
    assert ran == [
        (["bench.moving"], None),
        (["bench.gaps", "--count", "5"], "1"),
        (["bench.gaps", "--count", "5"], "1"),
    ]
    assert {name: each.commit for name, each in read_runs(tmp_path).items()} == {"moving": "abc", "gaps": "abc-failed"}
