from __future__ import annotations

import asyncio
import io
import json

import pytest
from rich.console import Console

from quiclb import ScrapeError
from quiclb.cli.scrape import Sample, metrics_url
from quiclb.cli.top import Report, report, watch
from quiclb.daemon.metrics import MetricsServer
from testbed.waiting import until


def text(packets: int, drops: int = 0, fail_open: int = 0) -> str:
    return f"""
quiclb_packets_total{{decision="routable",reason="ok"}} {packets}
quiclb_packets_total{{decision="drop",reason="empty-datagram"}} 7
quiclb_replies_total{{result="sent",reason="ok"}} {packets * 2}
quiclb_receive_drops_total{{side="vip"}} {drops}
quiclb_receive_drops_total{{side="inner"}} 0
quiclb_backend_packets_total{{backend="a",direction="to"}} {packets}
quiclb_backend_packets_total{{backend="a",direction="from"}} {packets * 2}
quiclb_backend_bytes_total{{backend="a",direction="to"}} {packets * 1000}
quiclb_backend_info{{backend="a",address="10.0.0.1:1",state="active",health="up"}} 1
quiclb_backend_info{{backend="b",address="10.0.0.2:1",state="down",health="down"}} 1
quiclb_probes_total{{backend="b",result="missed"}} 12
quiclb_table_version 3
quiclb_configs 2
quiclb_health_fail_open {fail_open}
quiclb_reloads_total{{result="refused"}} 1
"""


def between(before: str, after: str, seconds: float = 2.0) -> Report:
    return Report.between(Sample.parse(before, 10.0), Sample.parse(after, 10.0 + seconds))


def shown(found: Report, height: int | None = None) -> str:
    written = io.StringIO()
    Console(file=written, width=120).print(found.render(height))
    return written.getvalue()


def test_rates_are_changes_by_time():
    found = between(text(1000), text(3000, drops=4))
    flows = {(flow.outcome, flow.reason): (flow.total, flow.per_s) for flow in found.packets + found.losses}
    assert flows == {
        ("routable", "ok"): (3000, 1000.0),
        ("drop", "empty-datagram"): (7, 0.0),
        ("vip", "queue full"): (4, 2.0),
    }
    a, b = found.backends
    assert (a.to_per_s, a.from_per_s, a.to_bits_per_s) == (1000.0, 2000.0, 8e6)
    assert (b.state, b.health, b.probes_missed, b.to_per_s) == ("down", "down", 12, 0.0)
    assert (found.version, found.configs, found.is_fail_open, found.reloads_refused) == (3, 2, False, 1)


def test_a_restarted_load_balancer_counts_from_nothing():
    assert between(text(9000), text(500)).packets[1].per_s == 250.0


def test_processes_are_summed():
    one = (
        'quiclb_packets_total{decision="routable",reason="ok",process="0"} 10\nquiclb_table_generation{process="0"} 4\n'
    )
    both = one + one.replace('"0"', '"1"').replace("} 4", "} 5")
    found = between(both.replace(" 10", " 0"), both)
    assert [(flow.total, flow.per_s) for flow in found.packets] == [(20, 10.0)]
    assert found.version == 5


def test_the_view_says_what_matters():
    view = shown(between(text(1000), text(3000, drops=4, fail_open=1)))
    for expected in ("1/2 backends active", "2 configs", "table 3", "health is ignored", "1 reload refused"):
        assert expected in view
    assert view.index("10.0.0.2:1") < view.index("10.0.0.1:1")
    assert "lost vip" in view


def test_a_small_terminal_shows_the_backends_in_trouble():
    rows = "".join(
        f'quiclb_backend_info{{backend="n{n}",address="x",state="{"down" if n == 77 else "active"}",health="up"}} 1\n'
        for n in range(100)
    )
    view = shown(between(rows, rows), height=20)
    assert len(view.splitlines()) <= 20
    assert "n77" in view
    assert "more backends" in view


@pytest.mark.parametrize("body", ["", "<html>", "quiclb_packets_total{", "up 1", '{"a": 1}'])
def test_what_is_no_load_balancer_is_refused(body):
    with pytest.raises(ScrapeError, match="the answer"):
        Sample.parse(body, 0.0)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("127.0.0.1:9100", "http://127.0.0.1:9100/metrics"),
        ("[::1]:9100", "http://[::1]:9100/metrics"),
        ("http://lb.test:9100", "http://lb.test:9100/metrics"),
        ("https://lb.test/quiclb/metrics", "https://lb.test/quiclb/metrics"),
    ],
)
def test_short_addresses_are_completed(given, url):
    assert metrics_url(given) == url


@pytest.mark.parametrize("given", ["file:///etc/passwd", "ftp://x", "http://", ""])
def test_only_http_is_asked(given):
    with pytest.raises(ScrapeError, match="metrics must be an address"):
        metrics_url(given)


@pytest.fixture
async def endpoint():
    packets = 0

    def render() -> bytes:
        nonlocal packets
        packets += 100
        return text(packets).encode()

    server = MetricsServer(render)
    address = await server.start(("127.0.0.1", 0))
    yield metrics_url(f"127.0.0.1:{address[1]}"), server
    await server.stop()


async def test_a_report_takes_two_looks(endpoint):
    found = await report(endpoint[0], 0.05)
    assert found.packets[1].total == 200
    assert json.loads(json.dumps(found.as_json()))["backends"][0]["name"] == "a"


async def test_watching_outlives_the_load_balancer(endpoint):
    url, server = endpoint
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120)
    task = asyncio.create_task(watch(url, 0.02, console))
    await until(lambda: "backends active" in written.getvalue(), "the first report")
    await server.stop()
    await until(lambda: "no metrics at" in written.getvalue(), "that the load balancer is gone")
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say where the metrics are"),
        (("--metrics", "127.0.0.1:1", "--once"), "no metrics at http://127.0.0.1:1/metrics: connection refused"),
        (("--metrics", "127.0.0.1:1"), "connection refused"),
        (("--metrics", "127.0.0.1:1", "--json"), "--json goes with --once"),
        (("--metrics", "gopher://x", "--once"), "metrics must be an address"),
    ],
)
def test_mistakes_are_one_sentence(quiclb, arguments, message):
    status, out, err = quiclb("top", *arguments)
    assert (status, out) == (1, "")
    assert err.startswith("quiclb: ")
    assert message in err
    assert len(err.splitlines()) == 1
