"""Several forwarding processes under a supervisor, with parts of it killed under traffic."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import contextmanager
from typing import Any

import pytest

from bench.lb_faults.daemon import Daemon, is_alive
from bench.lb_faults.traffic import Backends, Clients, Tally, settings_text
from quiclb.net.address import format_address
from quiclb.net.spp import SppHeader, wrap

RATE = 3000.0
TIMEOUT_S = 40.0


@contextmanager
def traffic(flows=16, count=4, client_ip="127.0.0.1", backend_ip="127.0.0.1"):
    backends = Backends(count, backend_ip)
    clients = Clients(backends.tally, flows, count, client_ip)
    try:
        yield backends, clients
    finally:
        clients.close()
        backends.close()


@contextmanager
def serving(settings, **flags):
    daemon = Daemon(settings, **flags)
    try:
        yield daemon
    finally:
        daemon.kill()


def write_settings(path, backends, listen="127.0.0.1:0", inner="127.0.0.1:0", **changes):
    keys: dict[str, Any] = {"processes": 2, "metrics": "127.0.0.1:0"} | changes
    path.write_text(settings_text(backends.addresses, listen=listen, inner=inner, **keys))
    return path


@pytest.fixture
def settings(tmp_path):
    return tmp_path / "lb.toml"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A daemon of two processes in front of four backends, for tests that leave it as they found it."""
    backends = Backends(4)
    path = write_settings(tmp_path_factory.mktemp("shared") / "lb.toml", backends)
    with serving(path) as daemon:
        yield daemon, backends, path
    backends.close()


@pytest.fixture
def shared(running):
    daemon, backends, path = running
    backends.tally = Tally()
    clients = Clients(backends.tally, 64, 4)
    yield daemon, backends, clients, path
    clients.close()


def increase(daemon, before, name) -> float:
    return daemon.scrape()[name] - before.get(name, 0)


ROUTED = 'quiclb_packets_total{decision="routable",reason="ok"}'


def during(delay_s: float, act) -> threading.Timer:
    timer = threading.Timer(delay_s, act)
    timer.start()
    return timer


def until(is_true) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_all_went_right(tally: Tally) -> None:
    assert tally.strays == 0
    assert (tally.lost_inward, tally.lost_outward) == (0, 0)


def test_all_processes_forward_and_one_endpoint_sums_their_counters(shared):
    daemon, _, clients, _ = shared
    before = daemon.scrape()
    clients.send_for(0.5, RATE, [daemon.vip])
    tally = clients.tally
    assert_all_went_right(tally)
    until(lambda: increase(daemon, before, ROUTED) == tally.sent)
    until(lambda: increase(daemon, before, 'quiclb_replies_total{reason="ok",result="sent"}') == tally.sent)
    assert increase(daemon, before, 'quiclb_backend_packets_total{backend="b0",direction="to"}') == tally.by_backend[0]
    assert daemon.scrape()['quiclb_processes{state="serving"}'] == 2
    # each has been given flows by the kernel
    assert all(cpu_ticks(pid) > 0 for pid in daemon.serving().values())


def cpu_ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("datapath", ["vectorised", "asyncio"])
def test_killed_processes_lose_next_to_nothing_and_are_replaced(settings, datapath):
    with traffic() as (backends, clients), serving(write_settings(settings, backends, datapath=datapath)) as daemon:
        until(lambda: daemon.scrape()['quiclb_processes{state="spare"}'] == 1)
        victim = daemon.serving()[0]
        timer = during(0.3, lambda: os.kill(victim, signal.SIGKILL))
        clients.send_for(1.0, RATE, [daemon.vip], timer.is_alive)
        timer.join()
        assert clients.tally.strays == 0
        # only what the victim had read and not yet sent: at most a batch each way
        assert clients.tally.lost_inward <= 512
        until(lambda: daemon.serving()[0] not in (victim, daemon.serving()[1]))
        until(lambda: daemon.scrape()['quiclb_processes{state="spare"}'] == 1)
        samples = daemon.scrape()
        assert samples["quiclb_process_restarts_total"] == 1
        # what it counted before its last report is not forgotten
        assert samples['quiclb_packets_total{decision="routable",reason="ok"}'] <= clients.tally.sent


def test_after_the_supervisor_is_killed_its_processes_go_on_until_another_has_taken_over(settings):
    with traffic() as (backends, clients):
        write_settings(settings, backends, orphan_grace_s=8.0)
        first = Daemon(settings)
        orphans = first.children()
        first.process.kill()
        first.process.wait()
        try:
            clients.send_for(0.3, RATE, [first.vip])
            assert_all_went_right(clients.tally)
            flags = {"listen": format_address(first.vip), "inner": format_address(first.inner)}
            with serving(settings, **flags) as second:
                # orphans end while datagrams flow, and hand over what was on its way
                while any(is_alive(pid) for pid in orphans):
                    clients.send_for(0.5, RATE, [second.vip])
                clients.send_for(0.3, RATE, [second.vip])
                assert_all_went_right(clients.tally)
                assert second.stop() == 0
        finally:
            for pid in filter(is_alive, orphans):
                os.kill(pid, signal.SIGKILL)


def test_orphans_free_the_port(settings):
    with traffic() as (backends, _):
        daemon = Daemon(write_settings(settings, backends, orphan_grace_s=0.2))
        orphans = daemon.children()
        assert len(orphans) == 3
        daemon.process.kill()
        daemon.process.wait()
        until(lambda: not any(is_alive(pid) for pid in orphans))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(daemon.vip)


def test_it_stops_when_asked_and_its_processes_with_it(settings):
    with traffic() as (backends, clients), serving(write_settings(settings, backends)) as daemon:
        clients.send_for(0.1, RATE, [daemon.vip])
        until(lambda: daemon.scrape()[ROUTED] == clients.tally.sent)
        processes = daemon.children()
        assert daemon.stop() == 0
        assert not any(is_alive(pid) for pid in processes)
        stopped = daemon.wait_for("load balancer stopped")
        assert stopped["packets"] == clients.tally.sent
        assert [line for line in daemon.events() if line["level"] == "error"] == []


def test_replaced_beside_itself_it_loses_nothing(settings):
    with traffic() as (backends, clients), serving(write_settings(settings, backends)) as old:
        flags = {"listen": format_address(old.vip), "inner": format_address(old.inner)}
        with serving(settings, **flags) as new:
            timer = during(0.3, old.stop)
            clients.send_for(1.5, RATE, [new.vip], timer.is_alive)
            timer.join()
            assert_all_went_right(clients.tally)


def test_reload_under_traffic_reaches_every_process(shared):
    daemon, _, clients, settings = shared
    text = settings.read_text()

    def reload():
        settings.write_text(text.replace('name = "b3"', 'name = "b3"\nstate = "draining"'))
        daemon.process.send_signal(signal.SIGHUP)

    timer = during(0.2, reload)
    clients.send_for(1.0, RATE, [daemon.vip], timer.is_alive)
    timer.join()
    # a draining backend keeps its connection IDs
    assert_all_went_right(clients.tally)
    until(lambda: daemon.scrape().get('quiclb_backends{state="draining"}') == 1)
    settings.write_text(text)
    until(lambda: 'quiclb_backends{state="draining"}' not in daemon.scrape())


def test_a_bad_reload_changes_nothing(shared):
    daemon, _, clients, settings = shared
    text = settings.read_text()
    settings.write_text(text + "[[backend]]\nname = 7\n")
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: daemon.scrape().get('quiclb_reloads_total{result="refused"}', 0) >= 1)
    clients.send_for(0.2, RATE, [daemon.vip])
    settings.write_text(text)
    assert_all_went_right(clients.tally)


@pytest.mark.parametrize(
    ("client_ip", "backend_ip"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::1", "127.0.0.1"), ("127.0.0.1", "::1")],
)
def test_daemons_behind_ecmp_are_interchangeable_packet_by_packet(settings, client_ip, backend_ip):
    """Every flow alternates between two daemons; backends answer the one that sent the datagram."""
    listen, inner = (f"[{ip}]:0" if ":" in ip else f"{ip}:0" for ip in (client_ip, backend_ip))
    with traffic(flows=15, client_ip=client_ip, backend_ip=backend_ip) as (backends, clients):
        write_settings(settings, backends, listen, inner, processes=1)
        with serving(settings) as first, serving(settings) as second:
            clients.send_for(0.5, RATE, [first.vip, second.vip])
            assert_all_went_right(clients.tally)
            for daemon in (first, second):
                routed = daemon.scrape()['quiclb_packets_total{decision="routable",reason="ok"}']
                assert routed == pytest.approx(clients.tally.sent / 2, abs=1)


def test_a_backend_that_is_lost_and_returns_costs_only_its_own_datagrams(shared):
    daemon, backends, clients, _ = shared
    tally = clients.tally

    def vanish_and_return() -> None:
        backends.close_one(2)
        closed_at = tally.sent
        until(lambda: tally.sent - closed_at > 0.2 * RATE)
        backends.open_one(2)

    timer = during(0.2, vanish_and_return)
    clients.send_for(1.0, RATE, [daemon.vip], timer.is_alive)
    timer.join()
    clients.send_for(0.2, RATE, [daemon.vip])
    assert tally.strays == 0
    assert 0 < tally.lost_inward < tally.sent / 4
    # each of four backends is sent a quarter
    for number in (0, 1, 3):
        assert tally.by_backend[number] == pytest.approx(tally.sent / 4, abs=5)


def test_garbage_untrusted_sources_and_headers_that_name_the_vip_cost_no_datagram(shared):
    daemon, backends, clients, _ = shared
    stop = threading.Event()
    rounds = 0

    def flood():
        nonlocal rounds
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not stop.wait(0.001):
                rounds += 1
                sock.sendto(os.urandom(60)[: 1 + os.urandom(1)[0] % 60], daemon.vip)
                sock.sendto(wrap(SppHeader(clients.addresses[0], daemon.vip), b"forged"), daemon.inner)
                backends.send_from(0, wrap(SppHeader(daemon.vip, daemon.vip), b"loop"), daemon.inner)

    thread = threading.Thread(target=flood)
    thread.start()
    clients.send_for(1.0, RATE, [daemon.vip], lambda: rounds < 200)
    stop.set()
    thread.join()
    tally = clients.tally
    assert (tally.misrouted, tally.misdelivered, tally.lost_inward, tally.lost_outward) == (0, 0, 0, 0)
    samples = daemon.scrape()
    assert samples['quiclb_replies_total{reason="stranger",result="drop"}'] > 100
    assert samples['quiclb_replies_total{reason="client-is-vip",result="drop"}'] > 100


def test_a_thousand_backends(settings):
    with (
        traffic(flows=1000, count=1000) as (backends, clients),
        serving(write_settings(settings, backends, processes=1)) as daemon,
    ):
        clients.send_for(1.0, RATE, [daemon.vip])
        assert_all_went_right(clients.tally)
        assert len(clients.tally.by_backend) == 1000


def test_an_address_that_others_hold_is_one_sentence(settings):
    with traffic() as (backends, clients):
        taken = format_address(clients.addresses[0])
        with pytest.raises(RuntimeError, match=f"quiclb: cannot listen on {taken}: the address is in use"):
            Daemon(write_settings(settings, backends, listen=taken))
