"""The Grafana dashboard of workers and load balancers, written by Grafana's foundation SDK.

`python -m deploy.monitoring.dashboard` writes `dashboard.json` anew; a test demands that it is current.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders.common import VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

FILE: Final = Path(__file__).with_name("dashboard.json")
_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="$source")
_RATE: Final = "$__rate_interval"
_WORKER: Final = 'job="voice-gateway",instance=~"$worker"'
_BALANCER: Final = 'job="quiclb",instance=~"$balancer"'


@dataclass(frozen=True, slots=True)
class Graph:
    """One panel: `lines` are queries with what their legend says; `is_stat` shows the last values in figures."""

    title: str
    unit: str
    lines: Sequence[tuple[str, str]]
    description: str = ""
    is_stat: bool = False


def rate(metric: str, of: str = _WORKER, by: str = "") -> str:
    """Return the rate a second of a counter, summed."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{of}}}[{_RATE}]))"


def quantile(share: float, histogram: str) -> str:
    """Return a quantile over all workers of a histogram."""
    return f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket{{{_WORKER}}}[{_RATE}])))"


def quantiles(histogram: str) -> list[tuple[str, str]]:
    """Return the median and two high quantiles, with their names."""
    return [(quantile(share, histogram), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)]


def mean(histogram: str) -> str:
    """Return the mean over all workers of a histogram."""
    return f"{rate(f'{histogram}_sum')} / {rate(f'{histogram}_count')}"


def or_zero(query: str) -> str:
    """Return 0 where no label of a counter has been counted yet."""
    return f"{query} or vector(0)"


ROWS: Final[Sequence[tuple[str, Sequence[Graph]]]] = (
    (
        "Overview",
        (
            Graph("Workers up", "short", [('sum(up{job="voice-gateway"})', "up")], is_stat=True),
            Graph("Load balancers up", "short", [('sum(up{job="quiclb"})', "up")], is_stat=True),
            Graph("Sessions", "short", [(f"sum(voice_sessions{{{_WORKER}}})", "sessions")], is_stat=True),
            Graph(
                "Room for sessions used",
                "percentunit",
                [(f"sum(voice_sessions{{{_WORKER}}}) / sum(voice_sessions_limit{{{_WORKER}}})", "used")],
                is_stat=True,
            ),
            Graph(
                "Response, 95th percentile",
                "s",
                [(quantile(0.95, "voice_user_bot_latency_seconds"), "p95")],
                "From the caller's last voiced frame to the answer's first audible sample, as callers measured it.",
                is_stat=True,
            ),
            Graph("Workers draining", "short", [(f"sum(voice_draining{{{_WORKER}}})", "draining")], is_stat=True),
        ),
    ),
    (
        "Calls",
        (
            Graph(
                "Sessions by state",
                "short",
                [(f"sum by (state) (voice_sessions_by_state{{{_WORKER}}})", "{{state}}")],
                "Detached: the connection is lost, and the caller may come back.",
            ),
            Graph(
                "Sessions by worker", "short", [(f"sum by (instance) (voice_sessions{{{_WORKER}}})", "{{instance}}")]
            ),
            Graph(
                "Started and ended",
                "ops",
                [
                    (rate("voice_sessions_started_total"), "started"),
                    (or_zero(rate("voice_sessions_ended_total", by="code")), "ended: {{code}}"),
                ],
            ),
            Graph(
                "Turned away",
                "ops",
                [
                    (or_zero(rate("voice_sessions_refused_total", by="cause")), "refused: {{cause}}"),
                    (or_zero(rate("voice_sessions_limited_total", by="limit")), "limited: {{limit}}"),
                    (rate("voice_resumes_refused_total"), "resume refused"),
                ],
            ),
            Graph(
                "Incidents survived",
                "ops",
                [
                    (rate("voice_migrations_total"), "migrations"),
                    (rate("voice_resumes_total"), "resumes"),
                    (rate("voice_frames_replayed_total"), "frames sent again"),
                ],
            ),
            Graph(
                "Turns",
                "ops",
                [
                    (rate("voice_turns_total"), "turns"),
                    (rate("voice_replies_total"), "replies"),
                    (rate("voice_interruptions_total"), "interruptions"),
                ],
            ),
        ),
    ),
    (
        "Latency",
        (
            Graph(
                "Response",
                "s",
                quantiles("voice_user_bot_latency_seconds"),
                "From the caller's last voiced frame to the answer's first audible sample, as callers measured it.",
            ),
            Graph(
                "Where it goes, mean",
                "s",
                [
                    (mean("voice_uplink_age_seconds"), "uplink"),
                    (mean("voice_endpointing_seconds"), "endpointing"),
                    (mean("voice_stt_ttfb_seconds"), "STT"),
                    (mean("voice_llm_ttfb_seconds"), "LLM"),
                    (mean("voice_tts_ttfb_seconds"), "TTS"),
                    (mean("voice_playout_seconds"), "playout"),
                ],
            ),
            Graph(
                "Interruption, 95th percentile",
                "s",
                [
                    (quantile(0.95, "voice_interruption_seconds"), "at the worker"),
                    (quantile(0.95, "voice_barge_in_seconds"), "at the caller"),
                ],
            ),
            Graph(
                "Gaps of incidents, 95th percentile",
                "s",
                [
                    (quantile(0.95, "voice_migration_gap_seconds"), "migration"),
                    (quantile(0.95, "voice_resume_gap_seconds"), "resume"),
                ],
            ),
        ),
    ),
    (
        "Audio",
        (
            Graph(
                "Frames",
                "pps",
                [(rate("voice_frames_received_total"), "received"), (rate("voice_frames_sent_total"), "sent")],
            ),
            Graph(
                "Bytes",
                "Bps",
                [
                    (rate("voice_audio_received_bytes_total"), "received"),
                    (rate("voice_audio_sent_bytes_total"), "sent"),
                ],
            ),
            Graph("Gaps between uplink frames", "s", quantiles("voice_uplink_gap_seconds")),
            Graph(
                "Frames lost",
                "pps",
                [
                    (rate("voice_frames_dropped_total"), "dropped"),
                    (rate("voice_frames_given_up_total"), "given up by callers"),
                ],
            ),
        ),
    ),
    (
        "Session store",
        (
            Graph(
                "Saves",
                "ops",
                [(rate("voice_saves_total"), "saved"), (rate("voice_save_failures_total"), "failed")],
            ),
            Graph(
                "Sessions not saved",
                "short",
                [
                    (f"sum(voice_saves_pending{{{_WORKER}}})", "waiting"),
                    (f"sum(voice_store_away{{{_WORKER}}})", "workers without their store"),
                ],
            ),
        ),
    ),
    (
        "QUIC at the workers",
        (
            Graph(
                "Connections",
                "short",
                [
                    (f"sum(quic_connections{{{_WORKER}}})", "all"),
                    (f"sum(quic_half_open{{{_WORKER}}})", "half open"),
                    (f"sum by (config) (quic_connections_by_config{{{_WORKER}}})", "config {{config}}"),
                ],
            ),
            Graph(
                "Handshakes",
                "ops",
                [
                    (rate("quic_handshakes_completed_total"), "completed"),
                    (rate("quic_handshakes_resumed_total"), "resumed"),
                    (rate("quic_handshake_timeouts_total"), "timed out"),
                    (rate("quic_retries_sent_total"), "retries"),
                ],
            ),
            Graph(
                "Bytes",
                "Bps",
                [(rate("quic_received_bytes_total"), "received"), (rate("quic_sent_bytes_total"), "sent")],
            ),
            Graph(
                "Dropped and refused",
                "pps",
                [
                    (rate("quic_malformed_total"), "malformed"),
                    (rate("quic_untrusted_source_total"), "untrusted source"),
                    (rate("quic_undecryptable_initials_total"), "undecryptable Initials"),
                    (rate("quic_packets_ignored_total"), "beyond the rate"),
                    (rate("quic_refused_full_total"), "refused: full"),
                    (rate("quic_stateless_resets_sent_total"), "stateless resets"),
                    (rate("quic_send_errors_total"), "send errors"),
                ],
            ),
        ),
    ),
    (
        "Load balancers",
        (
            Graph(
                "Datagrams of clients",
                "pps",
                [(rate("quiclb_packets_total", _BALANCER, "decision, reason"), "{{decision}}: {{reason}}")],
            ),
            Graph(
                "Datagrams of backends",
                "pps",
                [(rate("quiclb_replies_total", _BALANCER, "result, reason"), "{{result}}: {{reason}}")],
            ),
            Graph(
                "Bytes by backend",
                "Bps",
                [(rate("quiclb_backend_bytes_total", _BALANCER, "backend, direction"), "{{backend}} {{direction}}")],
            ),
            Graph(
                "Backends by health",
                "short",
                [
                    (
                        f"count by (instance, state, health) (quiclb_backend_info{{{_BALANCER}}})",
                        "{{instance}}: {{state}}, {{health}}",
                    )
                ],
            ),
            Graph(
                "Losses",
                "pps",
                [
                    (rate("quiclb_receive_drops_total", _BALANCER, "side"), "receive queue full: {{side}}"),
                    (or_zero(rate("quiclb_send_errors_total", _BALANCER, "side, error")), "{{side}}: {{error}}"),
                ],
            ),
            Graph(
                "Probes and tables",
                "ops",
                [
                    (rate("quiclb_probes_total", _BALANCER, "result"), "probe {{result}}"),
                    (rate("quiclb_reloads_total", _BALANCER, "result"), "reload {{result}}"),
                ],
            ),
        ),
    ),
    (
        "Processes",
        (
            Graph(
                "CPU",
                "percentunit",
                [
                    (f"rate(process_cpu_seconds_total{{{_WORKER}}}[{_RATE}])", "{{instance}}"),
                    (f"rate(process_cpu_seconds_total{{{_BALANCER}}}[{_RATE}])", "{{instance}}"),
                ],
                "A worker has one core. Of a load balancer of several processes it is the supervisor.",
            ),
            Graph(
                "Memory",
                "bytes",
                [
                    (f"process_resident_memory_bytes{{{_WORKER}}}", "{{instance}}"),
                    (f"process_resident_memory_bytes{{{_BALANCER}}}", "{{instance}}"),
                ],
            ),
            Graph("Event loop late", "s", quantiles("voice_event_loop_lag_seconds")),
            Graph(
                "Descriptors",
                "percentunit",
                [(f"process_open_fds{{{_WORKER}}} / process_max_fds{{{_WORKER}}}", "{{instance}}")],
            ),
            Graph(
                "TCP",
                "short",
                [
                    (f"sum(web_connections{{{_WORKER}}})", "connections"),
                    (f"sum(web_connections_waiting{{{_WORKER}}})", "waiting"),
                    (or_zero(rate("web_responses_total", by="status")), "answers a second: {{status}}"),
                ],
            ),
            Graph(
                "Defects and lost lines",
                "ops",
                [
                    (rate("quic_internal_errors_total"), "QUIC"),
                    (rate("web_failures_total"), "HTTP"),
                    (rate("voice_log_lines_lost_total"), "log lines lost"),
                    (or_zero(rate("voice_log_lines_suppressed_total", by="event")), "log lines suppressed: {{event}}"),
                ],
            ),
        ),
    ),
)


def queries() -> Iterator[tuple[str, str]]:
    """Return each query with the title of its panel."""
    for _, graphs in ROWS:
        for graph in graphs:
            for query, _ in graph.lines:
                yield graph.title, query


def dashboard_text() -> str:
    """Return the dashboard as Grafana imports it."""
    dashboard = (
        Dashboard("Voice gateway")
        .uid("voice-gateway")
        .tags(["voice-gateway", "quiclb"])
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .with_variable(DatasourceVariable("source").type("prometheus").label("Prometheus"))
        .with_variable(_instances("worker", "voice_sessions"))
        .with_variable(_instances("balancer", "quiclb_table_version"))
    )
    numbers = itertools.count(1)
    for title, graphs in ROWS:
        dashboard.with_row(Row(title).id(next(numbers)))
        for graph in graphs:
            dashboard.with_panel(_panel(graph, 24 // len(graphs) if graph.is_stat else 12).id(next(numbers)))
    return JSONEncoder(sort_keys=True, indent=1).encode(dashboard.build()) + "\n"


def _instances(name: str, metric: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .query(f"label_values({metric}, instance)")
        .datasource(_SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _panel(graph: Graph, span: int) -> Stat | TimeSeries:
    panel: Stat | TimeSeries
    if graph.is_stat:
        panel = Stat().height(4)
    else:
        legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
        tooltip = VizTooltipOptions().mode(TooltipDisplayMode.MULTI)
        panel = TimeSeries().height(8).legend(legend.show_legend(True)).tooltip(tooltip).min(0)
    panel.title(graph.title).unit(graph.unit).span(span).datasource(_SOURCE).description(graph.description)
    for ref_id, (query, legend_format) in zip(string.ascii_uppercase, graph.lines, strict=False):
        panel.with_target(Dataquery().ref_id(ref_id).expr(query).legend_format(legend_format).datasource(_SOURCE))
    return panel


if __name__ == "__main__":
    FILE.write_text(dashboard_text())
