"""OpenTelemetry: a trace for each call, with a span for each turn and what it is made of.

The figures are those that the session has anyway. The SDK reads its OTEL_* variables itself.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog
from opentelemetry import context as otel_context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import Span, SpanKind, StatusCode, set_span_in_context

from voice_gateway.session.stats.events import (
    LineAdded,
    SessionDetached,
    SessionEnded,
    SessionEvent,
    SessionMigrated,
    SessionResumed,
    SessionStarted,
    ToolEnded,
    ToolStarted,
    TurnCompleted,
)
from voice_gateway.session.stats.turn_latency import Figure, TurnLatency

_log = structlog.get_logger("voice_gateway.ops.telemetry")
WORDS_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""OpenTelemetry's own: with `true` spans of turns hold what was said."""
_BEFORE: Final = (Figure.UPLINK_AGE, Figure.ENDPOINTING, Figure.STT_TTFB)
"""What lies between the caller's last word and `TurnLatency.at`."""
_MOST_LINES: Final = 64
_FAILURES: Final = frozenset({"agent_failed", "internal", "overloaded"})
Attributes = Mapping[str, str | int | float]


@dataclass(slots=True)
class _CallTrace:
    """The open span of a call, and of the tools that run in it; `lines` are by turn."""

    span: Span
    tools: dict[str, Span] = field(default_factory=dict)
    lines: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    detached_at: float | None = None


class TraceIds(IdGenerator):
    """Gives the trace of a call the session's own ID, of 32 hexadecimal digits: the same at each of its workers."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self.next_trace_id: int | None = None

    def generate_span_id(self) -> int:
        return self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        taken, self.next_trace_id = self.next_trace_id, None
        return taken or self._random.generate_trace_id()


class CallSpans:
    """Subscribe its `on_event` to the worker's session events, and `close` it at the end.

    A span named `call` lasts from its start, or its arrival from another worker, to its end here. Its children are
    `turn`, `migration`, `resume` and `execute_tool NAME`; those of a turn are `uplink`, `endpointing`, `stt`, `chat`,
    `tts` and `playout`, each as long as the figure of its name. A turn begins with the caller's last word and ends with
    the answer's last audio as it was made. Attributes are named as OpenTelemetry's GenAI conventions and Pipecat name
    them. `clock` gives seconds since 1970. What was said is left out unless `has_words`.
    """

    def __init__(
        self,
        provider: TracerProvider,
        agent: str,
        clock: Callable[[], float],
        loop_time: Callable[[], float],
        *,
        ids: TraceIds | None = None,
        has_words: bool = False,
    ) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("voice_gateway")
        self._agent = agent
        self._clock = clock
        self._loop_time = loop_time
        self._ids = ids
        self._has_words = has_words
        self._calls: dict[str, _CallTrace] = {}

    def on_event(self, session_id: str, event: SessionEvent, at: float) -> None:
        """Write down what happened."""
        if isinstance(event, SessionStarted) or (isinstance(event, SessionResumed) and session_id not in self._calls):
            self._begin(session_id, event, at)
        call = self._calls.get(session_id)
        if call is None:
            return
        match event:
            case TurnCompleted(turn=turn):
                self._turn(call, session_id, turn)
            case SessionMigrated(gap_ms=gap_ms):
                self._child(
                    call.span, "migration", at - gap_ms / 1000, at, {"voice.migration_gap_seconds": gap_ms / 1000}
                )
            case SessionDetached():
                call.detached_at = at
            case SessionResumed(is_restored=is_restored):
                began, call.detached_at = call.detached_at, None
                self._child(call.span, "resume", at if began is None else began, at, {"voice.is_restored": is_restored})
            case ToolStarted():
                self._tool(call, session_id, event, at)
            case ToolEnded(call=tool, has_failed=has_failed):
                self._tool_ended(call, tool, at, has_failed=has_failed)
            case LineAdded() if self._has_words:
                self._line(call, event)
            case SessionEnded():
                self._end(session_id, call, event, at)

    def close(self) -> None:
        """Send what has not been sent; blocks for as long as the SDK's settings allow."""
        self._provider.shutdown()

    def _begin(self, session_id: str, event: SessionStarted | SessionResumed, at: float) -> None:
        if self._ids is not None and _TRACE_ID.fullmatch(session_id):
            self._ids.next_trace_id = int(session_id, 16)
        attributes = self._conversation(session_id) | {
            "gen_ai.operation.name": "invoke_agent",
            "voice.transport": event.transport,
            "voice.is_restored": isinstance(event, SessionResumed),
        }
        root = otel_context.Context()
        span = self._tracer.start_span("call", root, SpanKind.SERVER, attributes, start_time=self._ns(at))
        self._calls[session_id] = _CallTrace(span)

    def _end(self, session_id: str, call: _CallTrace, event: SessionEnded, at: float) -> None:
        for tool in list(call.tools):
            self._tool_ended(call, tool, at, has_failed=True)
        call.span.set_attributes(
            {"voice.close_code": event.code, "voice.turns": event.turns, "voice.frames": event.frames}
        )
        if event.code in _FAILURES:
            call.span.set_attribute("error.type", event.code)
            call.span.set_status(StatusCode.ERROR, event.reason)
        call.span.end(self._ns(at))
        del self._calls[session_id]

    def _turn(self, call: _CallTrace, session_id: str, turn: TurnLatency) -> None:
        lines = call.lines.pop(turn.turn, ())
        if turn.at is None:
            return
        seconds = {figure: value_ms / 1000 for figure, value_ms in (turn.figures or {}).items()}
        began = turn.at - sum(seconds.get(figure, 0.0) for figure in _BEFORE)
        answered = turn.at + seconds.get(Figure.LLM_TTFB, 0.0)
        made = max(seconds.get(Figure.TTS_TTFB, 0.0), seconds.get(Figure.TTS_PROCESSING, 0.0))
        attributes: dict[str, str | int | float] = {
            **self._conversation(session_id),
            "gen_ai.operation.name": "invoke_agent",
            "turn.number": turn.turn,
            "turn.was_interrupted": turn.was_interrupted,
            "voice.frames_replayed": turn.frames_replayed,
            **{f"voice.{figure.value}_seconds": value for figure, value in seconds.items()},
            **_messages("input", "user", lines),
            **_messages("output", "assistant", lines),
        }
        if Figure.USER_BOT_LATENCY in seconds:
            attributes["turn.user_bot_latency_seconds"] = seconds[Figure.USER_BOT_LATENCY]
        span = self._child(call.span, "turn", began, answered + made, attributes)
        at = began
        for figure, name in _PARTS.items():
            if figure not in seconds:
                continue
            if figure is Figure.PLAYOUT:  # at the caller, from the arrival of the first audio
                at = answered + seconds.get(Figure.TTS_TTFB, 0.0)
            length = made if figure is Figure.TTS_TTFB else seconds[figure]
            shown = {"gen_ai.operation.name": "chat"} if figure is Figure.LLM_TTFB else {}
            self._child(span, name, at, at + length, shown | {f"voice.{figure.value}_seconds": seconds[figure]})
            at += seconds[figure]

    def _tool(self, call: _CallTrace, session_id: str, event: ToolStarted, at: float) -> None:
        attributes = self._conversation(session_id) | {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": event.name,
            "gen_ai.tool.call.id": event.call,
            "gen_ai.tool.type": "function" if event.side == "agent" else "extension",
        }
        parent = set_span_in_context(call.span, otel_context.Context())
        name = f"execute_tool {event.name}"
        call.tools[event.call] = self._tracer.start_span(name, parent, attributes=attributes, start_time=self._ns(at))

    def _tool_ended(self, call: _CallTrace, tool: str, at: float, *, has_failed: bool) -> None:
        span = call.tools.pop(tool, None)
        if span is not None:
            if has_failed:
                span.set_status(StatusCode.ERROR)
            span.end(self._ns(at))

    def _line(self, call: _CallTrace, line: LineAdded) -> None:
        lines = call.lines.setdefault(line.turn, [])
        if line.is_correction and lines and lines[-1][0] == line.role:
            lines.pop()
        if len(lines) < _MOST_LINES:
            lines.append((line.role, line.text))

    def _child(self, parent: Span, name: str, began: float, ended: float, attributes: Attributes) -> Span:
        context = set_span_in_context(parent, otel_context.Context())
        span = self._tracer.start_span(name, context, attributes=attributes, start_time=self._ns(began))
        span.end(self._ns(ended))
        return span

    def _conversation(self, session_id: str) -> dict[str, str | int | float]:
        return {
            "gen_ai.agent.name": self._agent,
            "gen_ai.conversation.id": session_id,
            "conversation.id": session_id,
        }

    def _ns(self, at: float) -> int:
        """Turn a time on the event loop's clock into nanoseconds since 1970."""
        return round((self._clock() - (self._loop_time() - at)) * 1_000_000_000)


def open_call_spans(worker: str, agent: str, clock: Callable[[], float], loop_time: Callable[[], float]) -> CallSpans:
    """Send spans where OTEL_EXPORTER_OTLP_ENDPOINT says, by HTTP, from a thread of the SDK's."""
    sdk = logging.getLogger("opentelemetry")
    sdk.handlers, sdk.propagate = [_SdkLog(logging.WARNING)], False
    named = Resource({"service.name": "voice-gateway", "service.instance.id": worker})
    ids = TraceIds()
    provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()), id_generator=ids)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    has_words = os.environ.get(WORDS_VARIABLE, "").lower() == "true"
    return CallSpans(provider, agent, clock, loop_time, ids=ids, has_words=has_words)


def _messages(direction: str, role: str, lines: list[tuple[str, str]] | tuple[()]) -> dict[str, str]:
    """The words of one side as the GenAI conventions write them."""
    ours = "user" if role == "user" else "agent"
    parts = [{"type": "text", "content": text} for said_by, text in lines if said_by == ours]
    if not parts:
        return {}
    return {f"gen_ai.{direction}.messages": msgspec.json.encode([{"role": role, "parts": parts}]).decode()}


class _SdkLog(logging.Handler):
    """Writes what the SDK reports as the worker writes everything."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.warning("telemetry_failed", reason=record.getMessage())


_PARTS: Final = {
    Figure.UPLINK_AGE: "uplink",
    Figure.ENDPOINTING: "endpointing",
    Figure.STT_TTFB: "stt",
    Figure.LLM_TTFB: "chat",
    Figure.TTS_TTFB: "tts",
    Figure.PLAYOUT: "playout",
}
_TRACE_ID: Final = re.compile(r"(?!0+$)[0-9a-f]{32}")
