"""The league table: CPU time of a tree of processes, and the cells of a row."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.league.__main__ import Row, shown
from bench.league.processor_time import Process, below, server_cpu_s

STAT = "7 (a) (b c) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 300 400 20 0 1 0 5 6 7"


def test_a_line_of_proc_is_read_whatever_the_program_is_called() -> None:
    assert Process.parse(STAT) == Process(7, 3, own=30, reaped=700)


def test_all_below_a_process_is_counted_and_nothing_else() -> None:
    processes = [
        Process(1, 0, own=1_000, reaped=1_000),
        Process(2, 1, own=100, reaped=5),
        Process(3, 2, own=10, reaped=1),
        Process(4, 3, own=20, reaped=0),
        Process(5, 1, own=7_000, reaped=0),
    ]
    assert below(2, processes) == 5 + 10 + 1 + 20
    assert below(4, processes) == 0


def test_children_that_work_are_counted_while_they_run_and_after_their_end() -> None:
    before_s = server_cpu_s()
    work = "import sys, time\nwhile (s := time.process_time()) < 0.2: pass\nprint(s, flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        worked_s = float(child.stdout.readline())
        while_it_runs_s = server_cpu_s() - before_s
        assert child.stdin is not None
        child.stdin.close()
        os.waitpid(child.pid, 0)
        child.returncode = 0
    after_s = server_cpu_s() - before_s
    assert while_it_runs_s == pytest.approx(worked_s, abs=0.1)
    assert after_s >= while_it_runs_s


def test_the_table_names_an_implementation_once_and_leaves_unknown_cells_empty() -> None:
    whole = Row("ours", "1", "clean", 2, 2, 20, 0, 0, 700.0, 900.0, 0.0, 0, cpu_s_per_call_s=0.08, caller_late_p99_ms=3)
    killed = Row("ours", "1", "killed with SIGKILL", 2, 1, 20, 4, 1, None, None, 0.0, 0, 2, 1_500.0)
    lines = shown([whole, killed], "How.").splitlines()
    assert lines[0] == "How."
    assert lines[-2] == "| ours (1) | clean | 2 of 2 | 0 of 20 | 700 ms / 900 ms | 0 | 0 ms |  | 12.5 | 3 ms |"
    assert lines[-1] == ("|  | killed with SIGKILL | 1 of 2 | 4 of 20 | - / - | 1 | 0 ms | 1,500 ms, 2 of 2 |  | - |")
