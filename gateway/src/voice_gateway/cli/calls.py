"""`voice-gateway calls`: list, show, export and delete the recordings of calls."""

from __future__ import annotations

import json
import os
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from quiclb.logs.command_output import print_json
from voice_gateway.cli.options import JsonOutput, write_out
from voice_gateway.errors import ConfigurationError
from voice_gateway.recording.library.archive import open_archive
from voice_gateway.recording.library.library import CallSummary, Library, Retention, UnknownCall
from voice_gateway.recording.reading.document import BUDGET_MS, call_document
from voice_gateway.recording.reading.export import ogg_file, wav_file
from voice_gateway.settings.gateway_settings import load_settings

_COLUMNS = 100
_EXPLAINED = {
    "uplink_age": "uplink",
    "endpointing": "endpointing",
    "stt_ttfb": "speech to text",
    "llm_ttfb": "answer",
    "tts_ttfb": "text to speech",
    "delivery": "delivery",
}

calls_app = typer.Typer(help="Recordings of calls.", no_args_is_help=True, add_completion=False)
ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", envvar="VOICE_GATEWAY_CONFIG", help="The worker's TOML file, for [recording].")
]
CallId = Annotated[str, typer.Argument(help="The session's ID, or how it begins.")]


class ExportForm(StrEnum):
    """What a call is exported as."""

    JSON = "json"
    WAV = "wav"
    OGG = "ogg"


@calls_app.callback()
def calls() -> None:
    """Recordings of calls: what a worker's [recording] keeps."""


@calls_app.command("list")
def list_calls(
    config: ConfigFile,
    subject: Annotated[str | None, typer.Option(help="Those of this subject alone.")] = None,
    most: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    is_json: JsonOutput = False,
) -> None:
    """List recorded calls, newest first."""
    found = _library(config).summaries(subject=subject, most=most)
    if is_json:
        print_json({"calls": [each.as_json() for each in found]})
        return
    table = Table(
        "call", "began (UTC)", "s", "agent", "subject", "turns", "incidents", "ended", "kept", box=SIMPLE_HEAD
    )
    for each in found:
        table.add_row(*_cells(each))
    Console(width=max(Console().width, _COLUMNS), markup=False).print(table)


@calls_app.command()
def show(call: CallId, config: ConfigFile, is_json: JsonOutput = False) -> None:
    """Show a call's turns, where the time of each went, its gaps and incidents."""
    library = _library(config)
    document = call_document(library.timeline(library.full_id(call)))
    if is_json:
        print_json(document)
        return
    console = Console(markup=False, highlight=False)
    workers = ", ".join(dict.fromkeys(each["worker"] for each in document["workers"]))
    console.print(
        f"{document['session']}: {document['duration_s']:.3f} s, agent {document['agent']}, at {workers}",
        soft_wrap=True,
    )
    for turn in document["turns"]:
        _print_turn(console, turn)
    for gap in document["gaps"]:
        console.print(f"gap: {gap['track']} {gap['start_s']:.3f} to {gap['end_s']:.3f} s, {gap['cause'] or 'unknown'}")
    for incident in document["incidents"]:
        console.print(f"{incident['at_s']:9.3f} s  {incident['kind']} at {incident['worker']}")


@calls_app.command()
def export(
    call: CallId,
    config: ConfigFile,
    form: Annotated[ExportForm, typer.Option("--format", "-f", help="WAV holds each sample, Ogg is for listening.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file. Default: standard output.")] = None,
    rate: Annotated[int, typer.Option(help="Of WAV in Hz: 8000, 16000, 24000 or 48000.")] = 24_000,
) -> None:
    """Write a call as JSON, or its two tracks as WAV or Opus in Ogg: the caller left, the agent right."""
    if rate not in (8_000, 16_000, 24_000, 48_000):
        raise ConfigurationError(f"--rate must be 8000, 16000, 24000 or 48000, got {rate}")
    library = _library(config)
    timeline = library.timeline(library.full_id(call))
    match form:
        case ExportForm.JSON:
            data = json.dumps(call_document(timeline), indent=1).encode() + b"\n"
        case ExportForm.WAV:
            data = wav_file(timeline, rate)
        case ExportForm.OGG:
            data = ogg_file(timeline)
    if out is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return
    write_out(out, data)


@calls_app.command()
def delete(
    config: ConfigFile,
    call: Annotated[str | None, typer.Argument(help="The session's whole ID.")] = None,
    subject: Annotated[str | None, typer.Option(help="All calls of this subject.")] = None,
    is_json: JsonOutput = False,
) -> None:
    """Delete all that is kept of one call, or of a subject's calls."""
    if (call is None) is (subject is None):
        raise ConfigurationError("name one call, or a --subject")
    library = _library(config)
    if subject is not None:
        deleted = library.delete_subject(subject)
    elif call is not None:
        if library.full_id(call) != call:
            raise UnknownCall(f"deleting needs the whole ID of the call, got {call!r}")
        library.delete(call)
        deleted = [call]
    if is_json:
        print_json({"deleted": deleted})
    else:
        Console(markup=False, highlight=False).print(f"{len(deleted)} calls deleted")


@calls_app.command()
def sweep(config: ConfigFile, is_json: JsonOutput = False) -> None:
    """Delete now what has been kept for longer than the settings say; workers do so every hour."""
    recording = load_settings(config, os.environ).recording
    retention = Retention.of_days(recording.retention_days, recording.audio_retention_days)
    deleted = _library(config).sweep(time.time(), retention)
    if is_json:
        print_json({"files_deleted": deleted})
    else:
        Console(markup=False, highlight=False).print(f"{deleted} files deleted")


def _library(config: Path) -> Library:
    recording = load_settings(config, os.environ).recording
    if recording.folder is None:
        raise ConfigurationError(f"{config}: nothing is recorded: recording.folder is not set")
    return Library(open_archive(recording.folder, recording.storage))


def _cells(each: CallSummary) -> tuple[str, ...]:
    kept = " ".join(name for name, is_kept in (("audio", each.has_audio), ("words", each.has_words)) if is_kept)
    return (
        each.session_id[:8],
        time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(each.began_s)),
        f"{each.last_s - each.began_s:.0f}",
        each.agent,
        _printable(each.subject or "-"),
        str(each.turns),
        str(each.incidents),
        each.code or "-",
        kept or "-",
    )


def _print_turn(console: Console, turn: dict[str, Any]) -> None:
    at = "" if turn["at_s"] is None else f" at {turn['at_s']:.3f} s"
    console.print(f"turn {turn['turn']}{at}")
    for line in turn["lines"]:
        console.print(f"  {line['role']}: {_printable(line['text'])}", soft_wrap=True)
    budget = turn["budget"]
    if budget is not None:
        stages = ", ".join(f"{_EXPLAINED[stage['stage']]} {stage['ms']:.0f}" for stage in budget["stages"])
        console.print(f"  {budget['total_ms']:.0f} of {BUDGET_MS:.0f} ms: {stages}", soft_wrap=True)


def _printable(text: str) -> str:
    """Return text of a caller without what a terminal takes for a command."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
