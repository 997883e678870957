"""OpenTelemetry: one span for each turn of a conversation, from the figures that the session has anyway.

The SDK reads its OTEL_* variables itself. No span holds what was said.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from voice_gateway.session.stats.events import SessionEvent, TurnCompleted
from voice_gateway.session.stats.turn_latency import Figure, TurnLatency

_log = structlog.get_logger("voice_gateway.ops.telemetry")
_BEFORE: Final = (Figure.UPLINK_AGE, Figure.ENDPOINTING, Figure.STT_TTFB)
"""What lies between the caller's last word and `TurnLatency.at`."""


class TurnSpans:
    """Subscribe its `on_event` to the worker's session events, and `close` it at the end.

    A span named `turn` begins with the caller's last word and ends with the answer's last audio as it was made. Turn
    attributes are named as Pipecat names them, the conversation's as OpenTelemetry's GenAI conventions do, and each
    figure as its histogram: `voice.stt_ttfb_seconds`. `clock` gives seconds since 1970.
    """

    def __init__(self, provider: TracerProvider, agent: str, clock: Callable[[], float]) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("gateway")
        self._agent = agent
        self._clock = clock

    def on_event(self, session_id: str, event: SessionEvent, at: float) -> None:
        """Write down a turn that is over."""
        if isinstance(event, TurnCompleted):
            self.on_turn_complete(session_id, event.turn, at)

    def on_turn_complete(self, session_id: str, turn: TurnLatency, now: float) -> None:
        """Write down the turn; `now` is on the session's clock."""
        if turn.at is None:
            return
        seconds = {figure: value_ms / 1000 for figure, value_ms in (turn.figures or {}).items()}
        at = self._clock() - (now - turn.at)
        began = at - sum(seconds.get(figure, 0.0) for figure in _BEFORE)
        made = max(seconds.get(Figure.TTS_TTFB, 0.0), seconds.get(Figure.TTS_PROCESSING, 0.0))
        attributes: dict[str, str | int | float] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": self._agent,
            "gen_ai.conversation.id": session_id,
            "conversation.id": session_id,
            "turn.number": turn.turn,
            "turn.was_interrupted": turn.was_interrupted,
            "voice.frames_replayed": turn.frames_replayed,
        }
        attributes |= {f"voice.{figure.value}_seconds": value for figure, value in seconds.items()}
        if Figure.USER_BOT_LATENCY in seconds:
            attributes["turn.user_bot_latency_seconds"] = seconds[Figure.USER_BOT_LATENCY]
        span = self._tracer.start_span("turn", start_time=_ns(began), attributes=attributes)
        span.end(_ns(at + seconds.get(Figure.LLM_TTFB, 0.0) + made))

    def close(self) -> None:
        """Send what has not been sent; blocks for as long as the SDK's settings allow."""
        self._provider.shutdown()


def open_turn_spans(worker: str, agent: str, clock: Callable[[], float]) -> TurnSpans:
    """Send spans where OTEL_EXPORTER_OTLP_ENDPOINT says, by HTTP, from a thread of the SDK's."""
    sdk = logging.getLogger("opentelemetry")
    sdk.handlers, sdk.propagate = [_SdkLog(logging.WARNING)], False
    named = Resource({"service.name": "voice-gateway", "service.instance.id": worker})
    provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return TurnSpans(provider, agent, clock)


class _SdkLog(logging.Handler):
    """Writes what the SDK reports as the worker writes everything."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.warning("telemetry_failed", reason=record.getMessage())


def _ns(at_s: float) -> int:
    return round(at_s * 1_000_000_000)
