"""A worker's counters as Prometheus metrics, read when they are scraped: nothing is counted twice on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib.metadata import version
from typing import Any, Final

from prometheus_client import GC_COLLECTOR, CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from quiclb.http.connection_limiter import ConnectionLimiter
from quiclb.http.listener import TcpConnection
from quiclb.logs.limits import suppressed_lines
from quiclb.logs.writer import LOG_LINES_LOST_HELP, lines_lost
from voice_gateway.agent.base import Agent
from voice_gateway.certificates.served import ServedCertificate
from voice_gateway.endpoint.counters import EndpointCounters
from voice_gateway.endpoint.endpoint import Endpoint
from voice_gateway.hosts.worker.agent import HostedAgent
from voice_gateway.hosts.worker.pool import Host, HostState
from voice_gateway.ops.reload import Reloader
from voice_gateway.session.manager import SessionManager
from voice_gateway.session.stats.counters import Histogram
from voice_gateway.session.stats.turn_latency import Figure
from voice_gateway.telephony.call import TelephonyCounters
from voice_gateway.transport.uplink.reassembler import UplinkCounters
from voice_gateway.web.counters import WebCounters
from voice_gateway.worker.listeners import TcpListeners
from voice_gateway.worker.loop_lag import LoopLag


def worker_registry(
    sessions: SessionManager, endpoint: Endpoint, uplinks: UplinkCounters, listeners: TcpListeners
) -> CollectorRegistry:
    """Return a registry of this worker and its process, for `prometheus_client.generate_latest`."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(GC_COLLECTOR)
    registry.register(SessionCollector(sessions))
    registry.register(EndpointCollector(endpoint))
    registry.register(UplinkCollector(uplinks))
    registry.register(TelephonyCollector(listeners.telephony_counters))
    registry.register(WebCollector(listeners.web_counters, listeners.limiter))
    return registry


class SessionCollector(Collector):
    """What the sessions of a worker did."""

    def __init__(self, sessions: SessionManager) -> None:
        self._sessions = sessions

    def collect(self) -> Iterator[Metric]:
        sessions = self._sessions
        counters = sessions.counters
        yield GaugeMetricFamily("voice_sessions", "Sessions there are now.", sessions.count)
        yield GaugeMetricFamily(
            "voice_sessions_limit", "Sessions there may be: session.max_sessions.", sessions.admission.max_sessions
        )
        states = GaugeMetricFamily("voice_sessions_by_state", "Sessions there are now, by state.", labels=["state"])
        for state, count in sessions.states().items():
            states.add_metric([state], count)
        yield states
        yield GaugeMetricFamily("voice_draining", "1 once the worker refuses new sessions.", int(sessions.is_draining))
        yield GaugeMetricFamily(
            "voice_saves_pending", "Sessions whose state waits to be saved.", sessions.unsaved_count
        )
        yield GaugeMetricFamily(
            "voice_store_away", "1 while the session store does not take records.", int(counters.is_store_away)
        )
        ended = CounterMetricFamily("voice_sessions_ended", "Sessions that ended.", labels=["code"])
        for code, count in sorted(counters.ended.items()):
            ended.add_metric([code], count)
        yield ended
        refused = CounterMetricFamily("voice_sessions_refused", "Requests declined.", labels=["status", "cause"])
        for (status, cause), count in sorted(counters.refused.items()):
            refused.add_metric([str(status), cause], count)
        yield refused
        limited = CounterMetricFamily(
            "voice_sessions_limited", "Callers cut off for going beyond a limit.", labels=["limit"]
        )
        for limit, count in sorted(counters.limited.items()):
            limited.add_metric([limit], count)
        yield limited
        accepted = CounterMetricFamily("voice_sessions_accepted", "Sessions let in.", labels=["transport"])
        for kind, count in sorted(counters.accepted.items()):
            accepted.add_metric([kind], count)
        yield accepted
        for field, (name, text) in _SESSION_TOTALS.items():
            yield CounterMetricFamily(name, text, getattr(counters, field))
        text = "Time between a caller's audio frame and the one before it, less pauses in its timestamps."
        yield _histogram("voice_uplink_gap_seconds", text, counters.uplink_gap)
        for figure, text in _LATENCIES.items():
            yield _histogram(f"voice_{figure.value}_seconds", text, counters.latencies[figure])


class HostCollector(Collector):
    """The agent hosts of a worker, and what happened to calls because of them."""

    def __init__(self, agent: HostedAgent) -> None:
        self._agent = agent

    def collect(self) -> Iterator[Metric]:
        pool = self._agent.pool
        if pool is None:
            return
        states = GaugeMetricFamily("voice_agent_host", "1 for the state of each agent host.", labels=["host", "state"])
        for host, present_state in pool.states().items():
            for state in HostState:
                states.add_metric([host, state], int(state is present_state))
        yield states
        calls = GaugeMetricFamily("voice_agent_host_calls", "Calls of this worker at the host.", labels=["host"])
        lag = GaugeMetricFamily(
            "voice_agent_host_loop_lag_seconds", "How far the host's event loop is behind.", labels=["host"]
        )
        malformed = CounterMetricFamily(
            "voice_agent_host_malformed_messages",
            "Messages of the vendor of the host's bridge that do not fit its protocol, of calls of all workers.",
            labels=["host", "kind"],
        )
        by_address: dict[str, list[Host]] = {}
        for each in pool.hosts():
            by_address.setdefault(str(each.address), []).append(each)
        for host, present in by_address.items():  # two while one drains
            calls.add_metric([host], sum(len(each.calls) for each in present))
            lag.add_metric([host], max(each.load.lag_ms for each in present) / 1000)
            counted = sum((Counter(each.load.malformed_messages) for each in present), Counter[str]())
            for kind, count in sorted(counted.items()):
                malformed.add_metric([host, kind], count)
        yield calls
        yield lag
        yield malformed
        left = CounterMetricFamily("voice_agent_host_calls_left", "Calls that left a host.", labels=["cause"])
        for cause, count in sorted(pool.counters.lost.items()):
            left.add_metric([cause], count)
        yield left
        yield CounterMetricFamily(
            "voice_agent_host_calls_given_up", "Calls that ended without a host.", pool.counters.given_up
        )
        yield CounterMetricFamily(
            "voice_agent_host_fenced_messages", "Messages of hosts that a call had left.", pool.counters.fenced
        )


class AgentCollector(Collector):
    """What the agent in a worker met at its vendor."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def collect(self) -> Iterator[Metric]:
        malformed = CounterMetricFamily(
            "voice_bridge_malformed_messages",
            "Messages of the vendor that do not fit its protocol; each ended its session.",
            labels=["kind"],
        )
        for kind, count in sorted(self._agent.malformed_messages.items()):
            malformed.add_metric([kind], count)
        yield malformed


class EndpointCollector(Collector):
    """What the worker's QUIC endpoint did: every field of `EndpointCounters`, and three gauges."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def collect(self) -> Iterator[Metric]:
        endpoint = self._endpoint
        yield GaugeMetricFamily("quic_connections", "Connections there are now.", endpoint.connection_count)
        yield GaugeMetricFamily("quic_half_open", "Connections in their handshake now.", endpoint.half_open_count)
        by_config = GaugeMetricFamily(
            "quic_connections_by_config",
            "Connections that a connection ID of this config still leads to; 7 is unroutable.",
            labels=["config"],
        )
        for config_id, count in sorted(endpoint.connections_by_config().items()):
            by_config.add_metric([str(config_id)], count)
        yield by_config
        for field in fields(EndpointCounters):
            text = f"{field.name.replace('_', ' ').capitalize()} since the worker began."
            name = _BYTES.get(field.name, field.name)
            yield CounterMetricFamily(f"quic_{name}", text, getattr(endpoint.counters, field.name))


class UplinkCollector(Collector):
    """The counters of uplinks in datagrams."""

    def __init__(self, counters: UplinkCounters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        text = "Audio frames that callers gave up for being late (deadline), and that others stand in for."
        yield CounterMetricFamily("voice_frames_given_up", text, self._counters.frames_given_up)


class TelephonyCollector(Collector):
    """What Twilio sent and was sent: every field of `TelephonyCounters`."""

    def __init__(self, counters: TelephonyCounters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        skipped = CounterMetricFamily("telephony_skipped", "Messages passed over, by fault.", labels=["fault"])
        for fault, count in sorted(self._counters.skipped.items()):
            skipped.add_metric([fault], count)
        yield skipped
        for field in fields(TelephonyCounters):
            if field.name != "skipped":
                text = f"{field.name.replace('_', ' ').capitalize()} since the worker began."
                yield CounterMetricFamily(f"telephony_{field.name}", text, getattr(self._counters, field.name))


class WebCollector(Collector):
    """What the TCP listeners did, and the log lines suppressed beyond their limits."""

    def __init__(self, counters: WebCounters, limiter: ConnectionLimiter[TcpConnection]) -> None:
        self._counters = counters
        self._limiter = limiter

    def collect(self) -> Iterator[Metric]:
        counters, connections, limits = self._counters, self._counters.connections, self._limiter.limits
        yield GaugeMetricFamily("web_connections", "TCP connections there are now.", len(self._limiter))
        yield GaugeMetricFamily(
            "web_connections_waiting", "Those without a whole request, or about to close.", self._limiter.waiting_count
        )
        yield GaugeMetricFamily("web_connections_limit", "TCP connections there may be at once.", limits.total)
        yield CounterMetricFamily("web_connections_accepted", "TCP connections accepted.", connections.accepted)
        families: tuple[tuple[str, str, str, Mapping[Any, int]], ...] = (
            ("web_connections_refused", "TCP connections closed at accept.", "cause", connections.refused),
            ("web_connections_evicted", "TCP connections closed before a request.", "cause", connections.evicted),
            ("web_accept_errors", "Refusals of the system to accept a connection.", "error", connections.accept_errors),
            ("web_responses", "HTTP answers.", "status", counters.responses),
            ("web_sockets_cut_off", "WebSockets ended for what their peer did.", "cause", counters.websockets_cut_off),
            ("voice_log_lines_suppressed", "Log lines beyond their limit.", "event", suppressed_lines),
        )
        for name, text, label, counts in families:
            family = CounterMetricFamily(name, text, labels=[label])
            for value, count in sorted(counts.items()):
                family.add_metric([str(value)], count)
            yield family
        yield CounterMetricFamily("web_failures", "Requests that met a defect; the log says which.", connections.failed)


class UpkeepCollector(Collector):
    """What an operator has to look after: the certificate, what was read again, and how busy the process is."""

    def __init__(self, certificate: ServedCertificate, reloader: Reloader, lag: LoopLag) -> None:
        self._certificate = certificate
        self._reloader = reloader
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "voice_certificate_expiry_timestamp_seconds",
            "When the certificate ends to be valid, in seconds since 1970.",
            self._certificate.expires,
        )
        reloads = CounterMetricFamily(
            "voice_reloads", "What was read again; refused is what was bad.", labels=["what", "result"]
        )
        for (what, result), count in sorted(self._reloader.counts.items()):
            reloads.add_metric([what, result], count)
        yield reloads
        yield CounterMetricFamily("voice_log_lines_lost", LOG_LINES_LOST_HELP, lines_lost())
        text = "How late the event loop runs what is due, looked at four times a second."
        yield _histogram("voice_event_loop_lag_seconds", text, self._lag.histogram)
        build = GaugeMetricFamily("voice_build_info", "1; the version is a label.", labels=["version"])
        build.add_metric([version("voice-gateway")], 1)
        yield build


_BYTES: Final = {"bytes_received": "received_bytes", "bytes_sent": "sent_bytes"}
"""A unit stands at the end of a metric's name."""
_SESSION_TOTALS: Final = {
    "started": ("voice_sessions_started", "Sessions whose caller said start."),
    "frames_received": ("voice_frames_received", "Audio frames of callers, dropped ones included."),
    "bytes_received": ("voice_audio_received_bytes", "Bytes of those frames."),
    "frames_dropped": ("voice_frames_dropped", "Audio frames dropped: duplicates, or out of order."),
    "frames_sent": ("voice_frames_sent", "Audio frames sent to callers."),
    "bytes_sent": ("voice_audio_sent_bytes", "Bytes of those frames."),
    "turns": ("voice_turns", "Utterances that callers completed."),
    "replies": ("voice_replies", "Replies that the agent began."),
    "interruptions": ("voice_interruptions", "Replies that callers interrupted."),
    "migrations": ("voice_migrations", "Changes of a caller's address within a session."),
    "resumes": ("voice_resumes", "Sessions taken up over a new connection."),
    "resumes_refused": ("voice_resumes_refused", "Callers whose session was not there, or not theirs."),
    "frames_replayed": ("voice_frames_replayed", "Audio frames that callers say they sent again after a resume."),
    "saves": ("voice_saves", "Records the session store took."),
    "save_failures": ("voice_save_failures", "Records the session store did not take."),
}

_LATENCIES: Final = {
    Figure.UPLINK_AGE: "From the caller's last voiced frame to its arrival, as the caller measured it.",
    Figure.ENDPOINTING: "From that arrival to the decision that the caller's turn is over.",
    Figure.STT_TTFB: "From the end of a turn to its final words.",
    Figure.LLM_TTFB: "From the final words to the first words of the answer.",
    Figure.TTS_TTFB: "From the first words of an answer to its first audio.",
    Figure.TTS_PROCESSING: "From the first words of an answer to the last of its audio.",
    Figure.USER_BOT_LATENCY: "From the caller's last voiced frame to the first audible sample of the answer, there.",
    Figure.PLAYOUT: "From the arrival of an answer's first audio to its first audible sample, at the caller.",
    Figure.INTERRUPTION: "From the arrival of the first frame that interrupts an answer to the flush.",
    Figure.BARGE_IN: "From the first frame that interrupts an answer to silence, at the caller.",
    Figure.MIGRATION_GAP: "The longest wait for an audio frame around a change of the caller's address.",
    Figure.RESUME_GAP: "From the last sign of life of a lost connection until the session went on, at the caller.",
}


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, buckets=_cumulative(histogram), sum_value=histogram.total)


def _cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    """What Prometheus calls buckets: how many values were at most each bound."""
    total, buckets = 0, []
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound), float(total)))
    return buckets
