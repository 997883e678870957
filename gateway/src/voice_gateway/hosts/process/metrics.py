"""What a host says of itself to Prometheus."""

from __future__ import annotations

from voice_gateway.hosts.messages import Load
from voice_gateway.hosts.process.calls import HostCounters


def exposition(counters: HostCounters, load: Load) -> str:
    """Return the text of `/metrics`."""
    figures = {
        "voice_host_calls": load.calls,
        "voice_host_loop_lag_seconds": load.lag_ms / 1000,
        "voice_host_draining": int(load.is_draining),
        "voice_host_calls_opened_total": counters.opened,
        "voice_host_calls_failed_total": counters.failed,
        "voice_host_calls_fenced_total": counters.fenced,
    }
    for kind, count in sorted(load.malformed_messages.items()):
        figures[f'voice_host_malformed_messages_total{{kind="{kind}"}}'] = count
    return "".join(f"{name} {value}\n" for name, value in figures.items())
