"""Spans of calls: what they hold, when they end, and where they are sent."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from tests.unit.voice_gateway.session.fakes import REQUEST, FakeAgent, FakeTransport
from voice_gateway.agent.base import (
    FinalTranscript,
    Reply,
    ReplyAudio,
    ReplyEnded,
    ReplyText,
    ToolBegan,
    ToolReturned,
    UserStartedSpeaking,
)
from voice_gateway.ops.telemetry import CallSpans, TraceIds, open_call_spans
from voice_gateway.session.manager import SessionManager
from voice_gateway.session.stats.events import (
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
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.store.implementations.memory import MemoryStore
from voice_gateway.worker import worker
from voicelink.wire import Measured, Start

EPOCH_S = 1_790_000_000.0
NOW_S = 60.0
TURN = TurnLatency(
    3,
    utterance_id=4,
    frames_replayed=2,
    at=50.0,
    figures={
        Figure.UPLINK_AGE: 60.0,
        Figure.ENDPOINTING: 650.0,
        Figure.STT_TTFB: 40.0,
        Figure.LLM_TTFB: 20.0,
        Figure.TTS_TTFB: 30.0,
        Figure.TTS_PROCESSING: 480.0,
        Figure.USER_BOT_LATENCY: 900.0,
        Figure.PLAYOUT: 100.0,
    },
)
SESSION = "00112233445566778899aabbccddeeff"
STARTED = SessionStarted(transport="webtransport", peer="192.0.2.1:1", codec="opus", agent="order", connection=None)
RESUMED = SessionResumed(
    transport="webtransport", peer="192.0.2.1:2", connection=None, next_sequence=7, is_restored=True
)
ENDED = SessionEnded(code="normal", reason="bye", frames=900, turns=3, goes_on=False)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def call_spans(exporter: InMemorySpanExporter, *, has_words: bool = False) -> CallSpans:
    """Spans of calls on an event loop's clock that stands at `NOW_S`."""
    ids = TraceIds()
    provider = TracerProvider(id_generator=ids)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return CallSpans(provider, "order", lambda: EPOCH_S, lambda: NOW_S, ids=ids, has_words=has_words)


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[CallSpans]:
    spans = call_spans(exporter)
    yield spans
    spans.close()


def tell(spans: CallSpans, *events: tuple[float, SessionEvent], session: str = SESSION) -> None:
    for at, event in events:
        spans.on_event(session, event, at)


def named(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    (span,) = (each for each in exporter.get_finished_spans() if each.name == name)
    return span


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def seconds(span: ReadableSpan) -> tuple[Any, ...]:
    """Its beginning and end on the event loop's clock, to compare with: they are approximate."""
    assert span.start_time is not None
    assert span.end_time is not None
    return tuple(pytest.approx(at / 1e9 - EPOCH_S + NOW_S, abs=1e-5) for at in (span.start_time, span.end_time))


def test_a_call_is_a_span_whose_trace_is_its_session(spans, exporter) -> None:
    tell(spans, (40.0, STARTED), (58.0, ENDED))
    call = named(exporter, "call")
    assert seconds(call) == (40.0, 58.0)
    assert call.context.trace_id == int(SESSION, 16)
    assert call.parent is None
    assert attributes_of(call) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "order",
        "gen_ai.conversation.id": SESSION,
        "conversation.id": SESSION,
        "voice.transport": "webtransport",
        "voice.is_restored": False,
        "voice.close_code": "normal",
        "voice.turns": 3,
        "voice.frames": 900,
    }
    assert call.status.status_code is StatusCode.UNSET


def test_a_turn_is_a_child_with_its_parts_one_after_the_other(spans, exporter) -> None:
    tell(spans, (40.0, STARTED), (55.0, TurnCompleted(turn=TURN)), (58.0, ENDED))
    turn = named(exporter, "turn")
    assert turn.parent.span_id == named(exporter, "call").context.span_id
    assert seconds(turn) == (49.25, 50.5)
    assert attributes_of(turn)["turn.number"] == 3
    assert attributes_of(turn)["turn.user_bot_latency_seconds"] == 0.9
    assert attributes_of(turn)["voice.frames_replayed"] == 2
    parts = {"uplink": (49.25, 49.31), "endpointing": (49.31, 49.96), "stt": (49.96, 50.0), "chat": (50.0, 50.02)}
    parts |= {"tts": (50.02, 50.5), "playout": (50.05, 50.15)}
    for name, times in parts.items():
        part = named(exporter, name)
        assert times == seconds(part), name
        assert part.parent.span_id == turn.context.span_id
    assert attributes_of(named(exporter, "chat"))["gen_ai.operation.name"] == "chat"


def test_what_happened_outside_of_turns_is_no_turn(spans, exporter) -> None:
    tell(spans, (40.0, STARTED), (50.0, TurnCompleted(turn=TurnLatency(0, figures={Figure.MIGRATION_GAP: 30.0}))))
    assert exporter.get_finished_spans() == ()


def test_migration_and_resume_are_as_long_as_their_gaps(spans, exporter) -> None:
    migrated = SessionMigrated(was="192.0.2.1:1", peer="192.0.2.2:1", gap_ms=80.0)
    tell(
        spans, (40.0, STARTED), (45.0, migrated), (46.0, SessionDetached(reason="lost")), (47.5, RESUMED), (58.0, ENDED)
    )
    assert seconds(named(exporter, "migration")) == (44.92, 45.0)
    assert seconds(named(exporter, "resume")) == (46.0, 47.5)
    assert "192.0.2" not in str([attributes_of(span) for span in exporter.get_finished_spans()])


def test_another_worker_goes_on_in_the_same_trace(spans, exporter) -> None:
    other = call_spans(exporter)
    tell(spans, (40.0, STARTED), (44.0, ENDED))
    tell(other, (45.0, RESUMED), (58.0, ENDED))
    first, second = (span for span in exporter.get_finished_spans() if span.name == "call")
    assert first.context.trace_id == second.context.trace_id
    assert attributes_of(second)["voice.is_restored"] is True
    other.close()


def test_tools_are_spans_and_those_the_call_leaves_running_have_failed(spans, exporter) -> None:
    tell(
        spans,
        (40.0, STARTED),
        (41.0, ToolStarted(call="k1", name="charge", side="agent")),
        (42.0, ToolStarted(call="k2", name="locate", side="client")),
        (43.0, ToolEnded(call="k1", has_failed=False)),
        (58.0, ENDED),
    )
    charge, locate = named(exporter, "execute_tool charge"), named(exporter, "execute_tool locate")
    assert seconds(charge) == (41.0, 43.0)
    assert (attributes_of(charge)["gen_ai.tool.call.id"], attributes_of(charge)["gen_ai.tool.type"]) == (
        "k1",
        "function",
    )
    assert charge.status.status_code is StatusCode.UNSET
    assert seconds(locate) == (42.0, 58.0)
    assert (attributes_of(locate)["gen_ai.tool.type"], locate.status.status_code) == ("extension", StatusCode.ERROR)


def test_a_call_that_fails_has_the_status_of_an_error(spans, exporter) -> None:
    tell(spans, (40.0, STARTED), (41.0, msgspec.structs.replace(ENDED, code="agent_failed", reason="it broke")))
    call = named(exporter, "call")
    assert (call.status.status_code, attributes_of(call)["error.type"]) == (StatusCode.ERROR, "agent_failed")


@pytest.mark.parametrize("has_words", [False, True])
async def test_a_session_is_traced_and_its_words_only_where_they_are_asked_for(exporter, has_words: bool) -> None:
    spans = call_spans(exporter, has_words=has_words)
    agent = FakeAgent()
    manager = SessionManager("w-1", agent, MemoryStore(), new_id=lambda: SESSION)
    manager.events.subscribe(spans.on_event)
    live = manager.accept(REQUEST, FakeTransport())
    live.message_received(Start())
    emit = agent.conversations[-1].emit
    for number in range(2):
        for event in (
            UserStartedSpeaking(0),
            FinalTranscript("secret latte", 0, None),
            ToolBegan("k", "price"),
            ToolReturned("k"),
            Reply("secret"),
            ReplyText("secret bill"),
            ReplyAudio(bytes(96)),
        ):
            emit(event)
        live.message_received(Measured(turn=number + 1, response_ms=800.0 + number))
    emit(ReplyEnded())
    await manager.close()
    found = exporter.get_finished_spans()
    assert [attributes_of(span)["turn.number"] for span in found if span.name == "turn"] == [1, 2]
    assert len({span.context.trace_id for span in found}) == 1
    assert {span.name for span in found} >= {"call", "turn", "chat", "tts", "execute_tool price"}
    shown = [attributes_of(span) for span in found]
    assert ("secret" in str(shown)) is has_words
    if has_words:
        (turn,) = (each for each in shown if each.get("turn.number") == 1)
        assert json.loads(turn["gen_ai.input.messages"])[0]["parts"] == [{"type": "text", "content": "secret latte"}]
        assert json.loads(turn["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "secret bill"}]
    spans.close()


class Collector(BaseHTTPRequestHandler):
    received: list[tuple[str, ExportTraceServiceRequest]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.received.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Collector]]:
    monkeypatch.setattr(Collector, "received", [], raising=False)
    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield Collector
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", [None, "cafe"])
def test_spans_go_where_the_environment_says(collector, monkeypatch, name: str | None) -> None:
    if name is not None:
        monkeypatch.setenv("OTEL_SERVICE_NAME", name)
    spans = open_call_spans("worker-1", "order", lambda: EPOCH_S, lambda: NOW_S)
    tell(spans, (40.0, STARTED), (58.0, ENDED))
    spans.close()
    ((path, request),) = collector.received
    (of_resource,) = request.resource_spans
    resource = {each.key: each.value.string_value for each in of_resource.resource.attributes}
    assert path == "/v1/traces"
    assert (resource["service.name"], resource["service.instance.id"]) == (name or "voice-gateway", "worker-1")
    assert [span.name for span in of_resource.scope_spans[0].spans] == ["call"]


def test_a_collector_that_is_not_there_is_a_line_in_the_log(monkeypatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    spans = open_call_spans("worker-1", "order", lambda: EPOCH_S, lambda: NOW_S)
    with structlog.testing.capture_logs() as logs:
        tell(spans, (40.0, STARTED), (58.0, ENDED))
        spans.close()
    assert {line["event"] for line in logs} == {"telemetry_failed"}


@pytest.fixture
def settings() -> GatewaySettings:
    document = {"worker": {"listen": "127.0.0.1:0"}, "tls": {"certificate": Path("a"), "key": Path("b")}}
    return GatewaySettings.model_validate(document)


def test_nothing_is_traced_unasked(settings, monkeypatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert worker._call_spans(settings.worker.name, "order", time.monotonic) is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    assert worker._call_spans(settings.worker.name, "order", time.monotonic) is None


def test_without_the_extra_the_worker_says_what_is_missing(settings, monkeypatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/v1/traces")
    monkeypatch.setitem(sys.modules, "voice_gateway.ops.telemetry", None)
    with structlog.testing.capture_logs() as logs:
        assert worker._call_spans(settings.worker.name, "order", time.monotonic) is None
    assert logs[0]["remedy"] == "pip install 'voice-gateway[otel]'"


def test_a_worker_that_is_not_asked_does_not_import_the_sdk() -> None:
    found = "any(name.startswith('opentelemetry') for name in sys.modules)"
    program = f"import sys, voice_gateway.worker.worker; sys.exit({found})"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
