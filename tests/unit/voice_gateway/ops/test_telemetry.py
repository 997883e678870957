"""Spans of turns: what they hold, when they end, and where they are sent."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.unit.voice_gateway.session.fakes import REQUEST, FakeAgent, FakeTransport
from voice_gateway.agent.base import FinalTranscript, Reply, ReplyAudio, ReplyEnded, UserStartedSpeaking
from voice_gateway.ops.telemetry import TurnSpans, open_turn_spans
from voice_gateway.session.manager import SessionManager
from voice_gateway.session.stats.turn_latency import Figure, TurnLatency
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.store.memory import MemoryStore
from voice_gateway.worker import worker
from voicelink.wire import Measured, Start

EPOCH_S = 1_790_000_000.0
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
    },
)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[TurnSpans]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = TurnSpans(provider, "order", lambda: EPOCH_S)
    yield spans
    spans.close()


def test_a_turn_is_a_span_from_the_last_word_to_the_last_audio(spans, exporter) -> None:
    spans.on_turn_complete("s-1", TURN, 60.0)
    (span,) = exporter.get_finished_spans()
    assert span.name == "turn"
    assert span.start_time == pytest.approx((EPOCH_S - 10.75) * 1e9, abs=1e3)
    assert span.end_time == pytest.approx((EPOCH_S - 9.5) * 1e9, abs=1e3)
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "order",
        "gen_ai.conversation.id": "s-1",
        "conversation.id": "s-1",
        "turn.number": 3,
        "turn.was_interrupted": False,
        "turn.user_bot_latency_seconds": 0.9,
        "voice.frames_replayed": 2,
        "voice.uplink_age_seconds": 0.06,
        "voice.endpointing_seconds": 0.65,
        "voice.stt_ttfb_seconds": 0.04,
        "voice.llm_ttfb_seconds": 0.02,
        "voice.tts_ttfb_seconds": 0.03,
        "voice.tts_processing_seconds": 0.48,
        "voice.user_bot_latency_seconds": 0.9,
    }


def test_what_happened_outside_of_turns_is_none(spans, exporter) -> None:
    spans.on_turn_complete("s-1", TurnLatency(0, figures={Figure.MIGRATION_GAP: 30.0}), 60.0)
    assert exporter.get_finished_spans() == ()


async def test_each_turn_of_a_session_is_told_once_and_none_of_its_words(spans, exporter) -> None:
    agent = FakeAgent()
    manager = SessionManager("w-1", agent, MemoryStore(), new_id=lambda: "s-1")
    manager.events.subscribe(spans.on_event)
    live = manager.accept(REQUEST, FakeTransport())
    live.message_received(Start())
    emit = agent.conversations[-1].emit
    for number in range(2):
        for event in (
            UserStartedSpeaking(0),
            FinalTranscript("secret latte", 0, None),
            Reply("secret bill"),
            ReplyAudio(bytes(96)),
        ):
            emit(event)
        live.message_received(Measured(turn=number + 1, response_ms=800.0 + number))
    emit(ReplyEnded())
    assert [span.attributes["turn.number"] for span in exporter.get_finished_spans()] == [1]
    await manager.close()
    spans = exporter.get_finished_spans()
    assert [span.attributes["turn.number"] for span in spans] == [1, 2]
    assert [span.attributes["turn.was_interrupted"] for span in spans] == [True, False]
    assert [span.attributes["turn.user_bot_latency_seconds"] for span in spans] == [0.8, 0.801]
    assert not any("secret" in span.to_json() for span in spans)


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
    spans = open_turn_spans("worker-1", "order", lambda: EPOCH_S)
    spans.on_turn_complete("s-1", TURN, 60.0)
    spans.close()
    ((path, request),) = collector.received
    (of_resource,) = request.resource_spans
    resource = {each.key: each.value.string_value for each in of_resource.resource.attributes}
    assert path == "/v1/traces"
    assert (resource["service.name"], resource["service.instance.id"]) == (name or "voice-gateway", "worker-1")
    assert [span.name for span in of_resource.scope_spans[0].spans] == ["turn"]


def test_a_collector_that_is_not_there_is_a_line_in_the_log(monkeypatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    spans = open_turn_spans("worker-1", "order", lambda: EPOCH_S)
    with structlog.testing.capture_logs() as logs:
        spans.on_turn_complete("s-1", TURN, 60.0)
        spans.close()
    assert {line["event"] for line in logs} == {"telemetry_failed"}


@pytest.fixture
def settings() -> GatewaySettings:
    document = {"worker": {"listen": "127.0.0.1:0"}, "tls": {"certificate": Path("a"), "key": Path("b")}}
    return GatewaySettings.model_validate(document)


def test_nothing_is_traced_unasked(settings, monkeypatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert worker._turn_spans(settings.worker.name, "order") is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    assert worker._turn_spans(settings.worker.name, "order") is None


def test_without_the_extra_the_worker_says_what_is_missing(settings, monkeypatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/v1/traces")
    monkeypatch.setitem(sys.modules, "voice_gateway.ops.telemetry", None)
    with structlog.testing.capture_logs() as logs:
        assert worker._turn_spans(settings.worker.name, "order") is None
    assert logs[0]["remedy"] == "pip install 'voice-gateway[otel]'"


def test_a_worker_that_is_not_asked_does_not_import_the_sdk() -> None:
    found = "any(name.startswith('opentelemetry') for name in sys.modules)"
    program = f"import sys, voice_gateway.worker.worker; sys.exit({found})"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
