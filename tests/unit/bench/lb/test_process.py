from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys

import pytest

PARENT = """
import signal, sys, time
from pathlib import Path
from bench.lb.process import end_at_sigterm, running
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
end_at_sigterm()
log, core = Path(sys.argv[1]), int(sys.argv[2])
with running([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"], [core], log) as it:
    while not log.read_bytes():
        time.sleep(0.01)
    print(it._process.pid, flush=True)
    time.sleep(60)
"""
TIMEOUT_S = 20.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmark needs Linux")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_what_was_started_ends_with_the_benchmark(tmp_path, number):
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log"), str(min(os.sched_getaffinity(0)))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        started = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.send_signal(number)
            ready, _, _ = select.select([started], [], [], TIMEOUT_S)
            assert ready, "it is still running"
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(started, signal.SIGKILL)
            os.close(started)
            parent.kill()
