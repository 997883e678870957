"""`voice-gateway calls`: what it lists, shows, exports and deletes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.unit.voice_gateway.recording.library.test_library import NOW, write_call
from voice_gateway.cli.main import app
from voice_gateway.errors import GatewayError
from voice_gateway.recording.library.archive import FolderArchive
from voicelink.audio.wav import parse_wav

LEAST = '[worker]\nlisten = "127.0.0.1:4433"\n[tls]\ncertificate = "leaf.pem"\nkey = "leaf.key"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "worker.toml"
    path.write_text(f'{LEAST}[recording]\nfolder = "calls"\n')
    write_call(FolderArchive(tmp_path / "calls"), "abc1", NOW, subject="ann")
    write_call(FolderArchive(tmp_path / "calls"), "bcd2", NOW + 60, subject="bob")
    return path


def run(config: Path, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["calls", *arguments, "--config", str(config)])
    if isinstance(result.exception, GatewayError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_calls_are_listed_as_a_table_and_as_json(config: Path) -> None:
    assert run(config, "list").index("bcd2") < run(config, "list").index("abc1")
    assert [each["session"] for each in json.loads(run(config, "list", "--json"))["calls"]] == ["bcd2", "abc1"]
    assert [each["session"] for each in json.loads(run(config, "list", "--json", "--subject", "ann"))["calls"]] == [
        "abc1"
    ]


def test_a_call_is_shown_by_how_its_id_begins(config: Path) -> None:
    shown = run(config, "show", "abc")
    assert "abc1: " in shown
    assert "migrated at w1" in shown
    assert json.loads(run(config, "show", "abc", "--json"))["subject"] == "ann"


def test_what_a_caller_says_commands_no_terminal(config: Path, tmp_path: Path) -> None:
    archive, hostile = FolderArchive(tmp_path / "calls"), "a\x1b[31m b\x1b]0;title\x07\x9bc"
    write_call(archive, "hostile", NOW, subject=hostile, text=hostile)
    for shown in (run(config, "list"), run(config, "show", "hostile")):
        assert not {"\x1b", "\x07", "\x9b"} & set(shown)
    assert "user: a\N{REPLACEMENT CHARACTER}[31m b" in run(config, "show", "hostile")
    (call,) = json.loads(run(config, "list", "--json", "--subject", hostile))["calls"]
    assert call["subject"] == hostile


@pytest.mark.parametrize("form", ["json", "wav", "ogg"])
def test_a_call_is_exported_in_each_form(config: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / f"call.{form}"
    run(config, "export", "abc1", "--format", form, "--out", str(out))
    data = out.read_bytes()
    assert {"json": data[:1] == b"{", "wav": data[:4] == b"RIFF", "ogg": data[:4] == b"OggS"}[form]
    if form == "wav":
        assert parse_wav(data).rate_hz == 24_000


def test_deleting_takes_a_whole_id_or_a_subject(config: Path, tmp_path: Path) -> None:
    for arguments in (["delete"], ["delete", "abc1", "--subject", "ann"], ["delete", "abc"], ["delete", "none"]):
        with pytest.raises(GatewayError):
            run(config, *arguments)
    assert json.loads(run(config, "delete", "abc1", "--json"))["deleted"] == ["abc1"]
    assert json.loads(run(config, "delete", "--subject", "bob", "--json"))["deleted"] == ["bcd2"]
    assert FolderArchive(tmp_path / "calls").calls() == []


def test_where_nothing_is_recorded_the_commands_say_so(config: Path) -> None:
    config.write_text(LEAST)
    with pytest.raises(GatewayError, match=r"recording\.folder is not set"):
        run(config, "list")


def test_a_sweep_deletes_what_is_too_old(config: Path, tmp_path: Path) -> None:
    write_call(FolderArchive(tmp_path / "calls"), "old", 1.0)
    assert json.loads(run(config, "sweep", "--json"))["files_deleted"] >= 3
    assert "old" not in FolderArchive(tmp_path / "calls").calls()
