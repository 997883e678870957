"""The command line: one document or one sentence, never a traceback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.integration.support.scripted_server import ORDER, TOKEN, ScriptedServer, ScriptedSession, serving
from voice_client.cli.main import app
from voicelink.audio.wav import parse_wav, wav_header
from voicelink.wire import Bye, ClientMessage, CloseCode, Error, Start


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.out)


async def voice_client(*arguments: object, **environment: str) -> Outcome:
    """Run the command in a thread, beside the server; a process of its own costs a second."""
    result = await asyncio.to_thread(CliRunner().invoke, app, [str(each) for each in arguments], env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


@asynccontextmanager
async def voice_client_process(*arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from voice_client.cli.main import main; main()", *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ScriptedServer]:
    async with serving(tmp_path) as server:
        yield server


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    samples = (np.sin(np.arange(22_050) / 10) * 8000).astype("<i2").tobytes()
    path = tmp_path / "speech.wav"
    path.write_bytes(wav_header(22_050, len(samples)) + samples)
    return path


async def test_json_tells_all_of_a_call_that_moved(server: ScriptedServer, wav: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    outcome = await voice_client(
        *("call", wav, "--url", server.url, "--ca", server.ca_file, "--token-file", tmp_path / "token", "--json"),
        *("--codec", "pcm16", "--local", "127.0.0.2", "--migrate-at", "0.3", "--migrate-to", "127.0.0.3"),
        *("--no-greeting", "--record", tmp_path / "out.wav"),
    )
    assert (outcome.status, outcome.err) == (0, "")
    document = outcome.document
    assert document["ok"] is True
    assert document["error"] is None
    assert (document["session"], document["worker"]) == ("s-1", "w-1")
    assert document["frames_sent"] == document["frames_acked"] == 50
    assert document["state"] == ORDER
    assert document["transcript"][0] == {"turn": 1, "role": "user", "text": "one black tea"}
    (migration,) = document["migrations"]
    assert migration["from"].startswith("127.0.0.2:")
    assert migration["to"].startswith("127.0.0.3:")
    assert document["rtt_ms"]["n"] >= 1
    assert len(document["reply_latencies_ms"]) == 1
    assert document["played_ms"] == 400
    assert parse_wav((tmp_path / "out.wav").read_bytes()).duration_s == 0.4
    assert [frame.sequence for frame in server.sessions[0].frames] == list(range(50))


async def test_a_person_sees_who_said_what(server: ScriptedServer, wav: Path) -> None:
    outcome = await voice_client(
        *("call", wav, "--url", server.url, "--certificate-hash", server.certificate_hash, "--no-greeting"),
        VOICE_TOKEN=TOKEN,
    )
    assert outcome.status == 0
    for text in ("session s-1 at w-1", "you  one black tea", "agent  anything else?", "frames acked"):
        assert text in outcome.out


CALL = ("call", "{wav}", "--url", "{url}", "--ca", "{ca}", "--token", TOKEN, "--no-greeting", "--codec", "pcm16")
PROGRAM = f'"{sys.executable}" -c "from voice_client.cli.main import main; main()"'


async def shell(template: str, server: ScriptedServer, wav: Path, **environment: str) -> Outcome:
    """Run a call by a shell, where `@` stands for the command."""
    places = {"wav": wav, "url": server.url, "ca": server.ca_file}
    command = " ".join((PROGRAM, *(each.format(**places) for each in CALL)))
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", "set -o pipefail; " + template.replace("@", command)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return Outcome(process.returncode, out.decode(), err.decode())


async def test_a_recording_whose_disk_fills_up_is_reported_once_and_the_call_goes_on(
    server: ScriptedServer, wav: Path, tmp_path: Path
) -> None:
    record = tmp_path / "out.wav"
    outcome = await shell(f"ulimit -f 8; @ --record {record} --json", server, wav)  # 8 KiB
    assert outcome.status == 1
    assert outcome.err == f"voice-client: cannot write {record}: file too large\n"
    assert outcome.document["error"] == f"cannot write {record}: file too large"
    assert outcome.document["frames_acked"] == 50
    assert outcome.document["duration_s"] < 25
    assert 0.1 < parse_wav(record.read_bytes()).duration_s < 0.2


async def test_a_call_whose_output_nothing_reads_goes_on_quietly(server: ScriptedServer, wav: Path) -> None:
    outcome = await shell("@ | head -1", server, wav)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == "session s-1 at w-1\n"
    assert [frame.sequence for frame in server.sessions[0].frames] == list(range(50))


async def test_a_call_whose_output_cannot_be_written_goes_on_and_fails_in_a_sentence(
    server: ScriptedServer, wav: Path
) -> None:
    outcome = await shell("@ > /dev/full", server, wav)
    sentence = "voice-client: cannot write to standard output: no space left on device"
    assert (outcome.status, outcome.err) == (1, f"{sentence}; going on without it\n")
    assert [frame.sequence for frame in server.sessions[0].frames] == list(range(50))


async def test_a_document_that_cannot_be_written_is_a_sentence(server: ScriptedServer, wav: Path) -> None:
    outcome = await shell("@ --json > /dev/full", server, wav)
    sentence = "voice-client: cannot write to standard output: no space left on device\n"
    assert (outcome.status, outcome.err) == (1, sentence)


@pytest.mark.parametrize("options", ["", "--json", "--migrate-at 0.2"])
async def test_a_call_is_shown_in_ascii_where_the_terminal_knows_no_more(
    server: ScriptedServer, wav: Path, options: str
) -> None:
    outcome = await shell(f"@ {options}", server, wav, PYTHONIOENCODING="ascii")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.isascii()
    if options == "--json":
        assert outcome.document["state"] == ORDER
    else:
        assert "agent  anything else?" in outcome.out


async def test_an_interrupt_ends_the_speech_and_says_goodbye(server: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "long.wav").write_bytes(wav_header(16_000, 960_000) + bytes(960_000))
    arguments = ("call", tmp_path / "long.wav", "--url", server.url, "--ca", server.ca_file, "--token", TOKEN)
    async with voice_client_process(*arguments, "--no-greeting", "--codec", "pcm16", "--json") as process:
        await server.has_session.wait()
        await server.sessions[0].has_frame.wait()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    document = json.loads(out)
    assert document["ok"] is True
    assert document["frames_acked"] == document["frames_sent"] < 1500


async def test_a_wrong_token_is_one_sentence_and_a_document(server: ScriptedServer, wav: Path) -> None:
    outcome = await voice_client("call", wav, "--url", server.url, "--ca", server.ca_file, "--token", "wrong", "--json")
    assert outcome.status == 1
    assert outcome.err == "voice-client: the server refused access: unknown token (HTTP status 401)\n"
    assert outcome.document["ok"] is False
    assert outcome.document["error"] == "the server refused access: unknown token (HTTP status 401)"


class FailingSession(ScriptedSession):
    """Loses its agent as soon as the call has begun."""

    def message_received(self, message: ClientMessage) -> None:
        super().message_received(message)
        if isinstance(message, Start):
            self.transport.send(Error(code=CloseCode.AGENT_FAILED, message="the model is gone"))
            self.transport.close(CloseCode.AGENT_FAILED, "the model is gone")


class DeafSession(ScriptedSession):
    """Ends the call in the middle."""

    def message_received(self, message: ClientMessage) -> None:
        if isinstance(message, Bye):
            self.transport.close(CloseCode.DRAINING, "maintenance")
        else:
            super().message_received(message)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [(FailingSession, "the model is gone"), (DeafSession, "went away before the call was finished")],
)
async def test_a_call_that_the_server_ends_is_a_failure(
    tmp_path: Path, wav: Path, kind: type[ScriptedSession], sentence: str
) -> None:
    async with serving(tmp_path, kind) as server:
        outcome = await voice_client(
            *("call", wav, "--url", server.url, "--ca", server.ca_file, "--token", TOKEN, "--json", "--no-greeting")
        )
    assert outcome.status == 1
    assert sentence in outcome.err
    assert sentence in outcome.document["error"]


async def test_a_migration_that_the_call_did_not_live_to_see_is_a_failure(server: ScriptedServer, wav: Path) -> None:
    outcome = await voice_client(
        *("call", wav, "--url", server.url, "--ca", server.ca_file, "--token", TOKEN, "--json", "--no-greeting"),
        *("--migrate-at", "60"),
    )
    assert outcome.status == 1
    assert "over before it could move" in outcome.err


async def test_ping_measures_round_trips(server: ScriptedServer) -> None:
    outcome = await voice_client("ping", server.url, "--ca", server.ca_file, "--token", TOKEN, "--count", 3)
    assert outcome.status == 0
    assert outcome.out.startswith("worker w-1: session ready after ")
    assert "round trip of 3 pings" in outcome.out


MISTAKES = {
    "no file": (["call", "missing.wav"], "cannot read missing.wav: No such file or directory"),
    "not a WAV": (["call", "{notes}"], "cannot use {notes}: not a WAV file"),
    "nothing to say": (
        ["call"],
        "say what to speak: a WAV file, --say TEXT, --type TEXT or --microphone, and only one of them",
    ),
    "two things to say": (["call", "{wav}", "--microphone"], "say what to speak"),
    "not https": (["call", "{wav}", "--url", "http://h/v1/voice"], "the URL must begin with https://"),
    "bad port": (["call", "{wav}", "--url", "https://h:99999/"], "is not a usable URL"),
    "no host": (["call", "{wav}", "--url", "https:///v1/voice"], "the URL names no host"),
    "bad hash": (["call", "{wav}", "--certificate-hash", "abc"], "a certificate hash is 64 hexadecimal digits"),
    "no authority": (["call", "{wav}", "--ca", "missing.pem"], "cannot read the CA file missing.pem"),
    "bad authority": (["call", "{wav}", "--ca", "{notes}"], "the CA file {notes} holds no PEM certificate"),
    "no token file": (["call", "{wav}", "--token-file", "missing"], "cannot read the token file missing"),
    "odd token": (["call", "{wav}", "--token", "a b"], "the access token must consist of"),
    "foreign address": (["call", "{wav}", "--local", "192.0.2.1"], "cannot use the local address 192.0.2.1"),
    "unpaired target": (["call", "{wav}", "--migrate-to", "127.0.0.3"], "each --migrate-to belongs to a --migrate-at"),
    "silent record": (["call", "{wav}", "--record", "x.wav", "--no-playback"], "--no-playback plays nothing"),
    "closed port": (["call", "{wav}", "--url", "https://127.0.0.1:9/v1/voice"], "no server listens at 127.0.0.1:9"),
    "bad ping": (["ping", "ftp://h"], "the URL must begin with https://"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(name: str, wav: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("hello")
    arguments, sentence = MISTAKES[name]
    places = {"wav": wav, "notes": notes}
    outcome = CliRunner().invoke(app, [argument.format(**places) for argument in arguments])
    assert outcome.exit_code == 1
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("voice-client: ")
    assert sentence.format(**places) in outcome.stderr
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [(), ("call",), ("ping",), ("devices",)])
def test_help_needs_no_manual(arguments: tuple[str, ...]) -> None:
    outcome = CliRunner().invoke(app, [*arguments, "--help"])
    assert outcome.exit_code == 0
    assert "Usage: " in outcome.stdout
