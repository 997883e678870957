"""The `quiclb serve` process: killed, restarted, terminated."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.integration.support.load_balancer import LoadBalancerProcess, exchange

TIMEOUT_S = 30.0


def test_after_sigkill_and_restart_connections_go_on(config, client, backends):
    with LoadBalancerProcess(config) as first:
        for number, backend in enumerate(backends, start=1):
            exchange(client, backend, first.vip, number)
        ports = {"QUICLB_LISTEN": "{}:{}".format(*first.vip), "QUICLB_INNER": "{}:{}".format(*first.inner)}
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(TIMEOUT_S)
    with LoadBalancerProcess(config, **ports) as second:
        assert (second.vip, second.inner) == (first.vip, first.inner)
        for number, backend in enumerate(backends, start=1):
            exchange(client, backend, second.vip, number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_asked(config, client, backends, number):
    with LoadBalancerProcess(config) as daemon:
        exchange(client, backends[0], daemon.vip, 1)
        daemon.process.send_signal(number)
        _, err = daemon.process.communicate(timeout=TIMEOUT_S)
        assert daemon.process.returncode == 0
        # one line when it started, one when it stops, none for any packet
        [stopped] = err.splitlines()
        assert json.loads(stopped).items() >= {"event": "load balancer stopped", "packets": 1}.items()


def test_a_port_in_use_is_one_sentence(config, client):
    taken = "{}:{}".format(*client.getsockname())
    command = [sys.executable, "-m", "quiclb", "serve", "--config", str(config), "--listen", taken]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert ended.returncode == 1
    assert ended.stderr == f"quiclb: cannot listen on {taken}: the address is in use\n"
