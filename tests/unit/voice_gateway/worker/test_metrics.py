from __future__ import annotations

import asyncio
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from quiclb.http.connection_limiter import ConnectionLimiter, ConnectionLimits
from testbed.simnet.loop import VirtualLoop
from voice_gateway.endpoint.counters import EndpointCounters
from voice_gateway.hosts.addresses import HostAddress, HostCredentials
from voice_gateway.hosts.messages import Hello, Load
from voice_gateway.hosts.worker.pool import HostPool
from voice_gateway.session.stats.counters import GAP_BOUNDS_S, SessionCounters
from voice_gateway.telephony.call import TelephonyCounters
from voice_gateway.transport.uplink.reassembler import UplinkCounters
from voice_gateway.web.counters import WebCounters
from voice_gateway.worker.loop_lag import LoopLag
from voice_gateway.worker.metrics import (
    AgentCollector,
    EndpointCollector,
    HostCollector,
    SessionCollector,
    TelephonyCollector,
    UpkeepCollector,
    UplinkCollector,
    WebCollector,
    worker_registry,
)


def scraped(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    text = generate_latest(registry).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def registry_of(collector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def of(collector) -> dict[tuple[str, ...], float]:
    return scraped(registry_of(collector))


def sessions(counters: SessionCounters, *, count: int = 3, is_draining: bool = False) -> Any:
    """What the metrics read of a `SessionManager`."""
    return SimpleNamespace(
        counters=counters,
        count=count,
        is_draining=is_draining,
        unsaved_count=2,
        admission=SimpleNamespace(max_sessions=40),
        states=lambda: {"active": 2, "detached": 1},
    )


def test_every_counter_of_the_sessions_is_exported():
    counters = SessionCounters()
    numbers = {}
    for number, field in enumerate(fields(SessionCounters), start=100):
        if isinstance(getattr(counters, field.name), int):
            setattr(counters, field.name, number)
            numbers[field.name] = number
    values = of(SessionCollector(sessions(counters, is_draining=True))).values()
    assert len(numbers) == 16
    assert set(numbers.values()) <= set(values)


def test_labelled_counters_and_gauges():
    counters = SessionCounters()
    counters.ended.update({"normal": 2, "idle": 1})
    counters.refused[401, "token_expired"] = 4
    counters.limited["session_bytes"] = 6
    counters.accepted["twilio"] = 5
    values = of(SessionCollector(sessions(counters, is_draining=True)))
    assert values["voice_sessions",] == 3
    assert values["voice_draining",] == 1
    assert values["voice_sessions_limit",] == 40
    assert (values["voice_sessions_by_state", "active"], values["voice_sessions_by_state", "detached"]) == (2, 1)
    assert values["voice_sessions_ended_total", "normal"] == 2
    assert values["voice_sessions_refused_total", "token_expired", "401"] == 4
    assert values["voice_sessions_limited_total", "session_bytes"] == 6
    assert values["voice_sessions_accepted_total", "twilio"] == 5


def test_a_store_that_is_away_is_visible():
    counters = SessionCounters(is_store_away=True, save_failures=7)
    values = of(SessionCollector(sessions(counters)))
    assert values["voice_store_away",] == 1
    assert values["voice_saves_pending",] == 2
    assert values["voice_save_failures_total",] == 7


def test_the_gap_histogram_is_cumulative():
    counters = SessionCounters()
    for gap_s in (0.02, 0.02, 0.07, 60.0):
        counters.uplink_gap.observe(gap_s)
    values = of(SessionCollector(sessions(counters)))
    assert values["voice_uplink_gap_seconds_bucket", "0.02"] == 2
    assert values["voice_uplink_gap_seconds_bucket", "0.08"] == 3
    assert values["voice_uplink_gap_seconds_bucket", str(GAP_BOUNDS_S[-1])] == 3
    assert values["voice_uplink_gap_seconds_bucket", "+Inf"] == 4
    assert values["voice_uplink_gap_seconds_count",] == 4


def endpoint(counters: EndpointCounters, connection_count: int = 0, half_open_count: int = 0) -> Any:
    return SimpleNamespace(
        counters=counters,
        connection_count=connection_count,
        half_open_count=half_open_count,
        connections_by_config=lambda: {7: 1, 0: 3},
    )


def test_every_counter_of_the_endpoint_is_exported():
    counters = EndpointCounters()
    for number, field in enumerate(fields(EndpointCounters), start=100):
        setattr(counters, field.name, number)
    values = of(EndpointCollector(endpoint(counters, connection_count=1, half_open_count=2)))
    for number, field in enumerate(fields(EndpointCounters), start=100):
        name = {"bytes_received": "received_bytes", "bytes_sent": "sent_bytes"}.get(field.name, field.name)
        assert values[f"quic_{name}_total",] == number
    assert (values["quic_connections",], values["quic_half_open",]) == (1, 2)
    assert (values["quic_connections_by_config", "0"], values["quic_connections_by_config", "7"]) == (3, 1)


def test_every_counter_of_the_telephony_is_exported():
    counters = TelephonyCounters()
    counters.skipped["malformed"] = 7
    names = [field.name for field in fields(TelephonyCounters) if field.name != "skipped"]
    for number, name in enumerate(names, start=100):
        setattr(counters, name, number)
    values = of(TelephonyCollector(counters))
    for number, name in enumerate(names, start=100):
        assert values[f"telephony_{name}_total",] == number
    assert values["telephony_skipped_total", "malformed"] == 7


def test_frames_that_callers_gave_up_are_exported():
    assert of(UplinkCollector(UplinkCounters(frames_given_up=7)))["voice_frames_given_up_total",] == 7


def test_the_lag_of_the_event_loop_is_exported_with_process_and_version():
    lag = LoopLag()
    lag.histogram.observe(0.03)
    certificate: Any = SimpleNamespace(expires=1.0)
    reloader: Any = SimpleNamespace(counts={})
    values = of(UpkeepCollector(certificate, reloader, lag))
    assert values["voice_event_loop_lag_seconds_bucket", "0.02"] == 0
    assert values["voice_event_loop_lag_seconds_bucket", "0.05"] == 1
    assert values["voice_build_info", version("voice-gateway")] == 1


def test_the_lag_is_how_late_a_timer_ran():
    loop, lag = VirtualLoop(), LoopLag()

    async def run() -> None:
        lag.start()
        await asyncio.sleep(1.01)
        lag.stop()

    loop.run_until_complete(run())
    loop.close()
    assert lag.histogram.counts[0] == 4


def test_workers_in_one_process_do_not_share_metrics():
    def worker(count: int) -> CollectorRegistry:
        manager = sessions(SessionCounters(), count=count)
        listeners: Any = SimpleNamespace(
            telephony_counters=TelephonyCounters(),
            web_counters=WebCounters(),
            limiter=ConnectionLimiter(ConnectionLimits.share(40)),
        )
        return worker_registry(manager, endpoint(EndpointCounters()), UplinkCounters(), listeners)

    one, two = worker(1), worker(2)
    assert scraped(one)["process_resident_memory_bytes",] > 0
    assert scraped(one)["voice_sessions",] == 1
    assert scraped(two)["voice_sessions",] == 2


def test_every_counter_of_the_tcp_listeners_is_exported():
    counters = WebCounters()
    connections = counters.connections
    connections.accepted, connections.failed = 101, 102
    counted: tuple[Any, ...] = (
        connections.refused,
        connections.evicted,
        connections.accept_errors,
        counters.responses,
        counters.websockets_cut_off,
    )
    for number, each in enumerate(counted, start=103):
        each["cause"] = number
    values = of(WebCollector(counters, ConnectionLimiter(ConnectionLimits.share(40)))).values()
    assert set(range(101, 108)) <= set(values)
    assert 40 in values


async def test_a_host_and_the_one_that_takes_its_place_are_one_sample_of_each_metric():
    address = HostAddress(Path("/run/a.sock"))
    pool = HostPool([(address, HostCredentials()), (HostAddress(Path("/run/gone.sock")), HostCredentials())])
    hello = Hello(agent="a", input_rate_hz=16_000, output_rate_hz=24_000, audio_format="pcm16")
    former, present = pool.enter(address, hello), pool.enter(address, hello)
    assert not isinstance(former, str)
    assert not isinstance(present, str)
    former.load = Load(calls=1, lag_ms=20.0, is_draining=True, malformed_messages={"shape": 2, "framing": 1})
    present.load = Load(calls=0, lag_ms=5.0, malformed_messages={"shape": 1})
    values = of(HostCollector(cast(Any, SimpleNamespace(pool=pool))))
    assert values["voice_agent_host_malformed_messages_total", str(address), "shape"] == 3
    assert values["voice_agent_host_malformed_messages_total", str(address), "framing"] == 1
    assert values["voice_agent_host_loop_lag_seconds", str(address)] == 0.02
    text = generate_latest(registry_of(HostCollector(cast(Any, SimpleNamespace(pool=pool))))).decode()
    samples = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) == len(set(samples))


def test_malformed_messages_of_an_agents_vendor_are_exported():
    agent: Any = SimpleNamespace(malformed_messages={"shape": 2})
    assert of(AgentCollector(agent)) == {("voice_bridge_malformed_messages_total", "shape"): 2}
