"""A backend whose port is closed is noticed by its refusals, long before probes would tell."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench.lb_faults.daemon import Daemon
from bench.lb_faults.traffic import Backends, Clients, settings_text

INSTEAD = 'quiclb_packets_total{decision="fallback",reason="backend-down"}'
TIMEOUT_S = 40.0


@pytest.mark.parametrize("processes", [1, 2])
def test_datagrams_of_a_backend_that_refuses_them_go_to_another(tmp_path: Path, processes: int) -> None:
    backends = Backends(2)
    settings = tmp_path / "lb.toml"
    text = settings_text(
        backends.addresses, listen="127.0.0.1:0", inner="127.0.0.1:0", metrics="127.0.0.1:0", processes=processes
    )
    # probes of their own would take hours
    settings.write_text(text.replace("enabled = false", "interval_s = 3600"))
    clients = Clients(backends.tally, 16, 2)
    daemon = Daemon(settings)
    try:
        backends.close_one(0)
        deadline = time.monotonic() + TIMEOUT_S
        while not daemon.scrape().get(INSTEAD):
            assert time.monotonic() < deadline
            clients.send_for(0.1, 500.0, [daemon.vip])
        daemon.wait_for("backend health changed")
        changed = [line for line in daemon.events() if line["event"] == "backend health changed"]
        assert [(line["backend"], line["health"]) for line in changed] == [("b0", "down")]
    finally:
        daemon.kill()
        clients.close()
        backends.close()
