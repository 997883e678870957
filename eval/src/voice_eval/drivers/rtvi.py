"""RTVI messages of Pipecat pipelines, over any transport: transcripts, the state, and the caller's tools."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Any, Final

from voice_eval.call.record import ToolCall, TranscriptLine
from voice_eval.drivers.base import Dialling

_LABEL: Final = "rtvi-ai"
_VERSION: Final = "2.0.0"
_CALLS: Final = ("llm-function-call", "llm-function-call-in-progress")


class Rtvi:
    """Fills the record of a call; `send` takes a message for the pipeline."""

    def __init__(self, dialling: Dialling, send: Callable[[dict[str, Any]], None]) -> None:
        self._dialling = dialling
        self._send = send
        self._numbered = 0

    def begin(self) -> None:
        """A connection is up."""
        about = {"library": "voice-eval", "platform": "python"}
        self._message("client-ready", {"version": _VERSION, "about": about})

    def type(self, text: str) -> None:
        """Type a text."""
        self._message("send-text", {"content": text, "options": {"run_immediately": True}})

    def received(self, message: Any) -> None:
        """Take a message; those of other protocols, and unknown ones, are left."""
        if not isinstance(message, dict) or message.get("label") != _LABEL:
            return
        data = message.get("data")
        if not isinstance(data, dict):
            return
        match message.get("type"):
            case "user-transcription" if data.get("final", True):
                self._line("user", str(data.get("text", "")))
            case "bot-output" if data.get("output_type", "sentence") in ("sentence", "segment", "turn"):
                self._line("agent", str(data.get("text", "")))
            case "bot-transcription":
                self._line("agent", str(data.get("text", "")))
            case "server-message" if isinstance(data.get("state"), dict):
                self._dialling.record.state = data["state"]
            case kind if kind in _CALLS:
                self._called(data)

    def _line(self, role: str, text: str) -> None:
        lines = self._dialling.record.lines = self._dialling.record.lines or []
        # a pipeline reports an answer whole and sentence by sentence, before and after it is spoken
        before = [line.text for line in takewhile(lambda line: line.role == role, reversed(lines))]
        if text and not (role == "agent" and any(text in each for each in before)):
            lines.append(TranscriptLine(role, text))

    def _called(self, data: dict[str, Any]) -> None:
        record = self._dialling.record
        calls = record.tools = record.tools or []
        name, call_id = str(data.get("function_name", "")), str(data.get("tool_call_id", ""))
        arguments = data.get("args") or data.get("arguments") or {}
        if any(each.call_id == call_id and each.name == name for each in calls):
            return
        calls.append(ToolCall(self._dialling.clock(), call_id, name, arguments))
        offered = next((each for each in self._dialling.scenario.tools if each.name == name), None)
        if offered is not None:
            result = offered.result if offered.error is None else {"error": offered.error}
            answer = {"function_name": name, "tool_call_id": call_id, "arguments": arguments, "result": result}
            self._message("llm-function-call-result", answer)

    def _message(self, kind: str, data: dict[str, Any]) -> None:
        self._numbered += 1
        self._send({"label": _LABEL, "type": kind, "id": str(self._numbered), "data": data})
