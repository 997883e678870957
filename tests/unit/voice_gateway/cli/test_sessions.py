"""The commands for operators: what `top` shows, and how `qlog` finds its session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from voice_gateway.cli import sessions
from voice_gateway.cli.admin_client import AdminClient
from voice_gateway.errors import ConfigurationError


def session(session_id: str, late_ms: int | None = None, state: str = "active") -> dict[str, Any]:
    uplink = {"frames": 50, "largest_gaps": [{"sequence": 3, "gap_ms": 41.0}], "lateness_p99_ms": late_ms}
    facts = {"worker": "w-1", "peer": "192.0.2.1:1", "age_s": 7.2, "turn": 2, "migrations": []}
    return {"id": session_id, "state": state, "uplink": uplink, **facts}


def shown(*looks: dict[str, Any] | str, lines: int = 40) -> str:
    console = Console(width=120, record=True, markup=False)
    console.print(sessions.overview(looks, lines))
    return console.export_text()


def test_top_puts_the_latest_audio_first_and_says_who_does_not_answer() -> None:
    found = [session("aaaa", 5), session("bbbb", 80), session("cccc", None, "detached")]
    text = shown({"worker": "w-1", "draining": True, "sessions": found}, "no worker answers at http://w-2: refused")
    assert text.index("bbbb") < text.index("aaaa") < text.index("cccc")
    assert "w-1: 3 sessions  2 active  1 detached  draining" in text
    assert "no worker answers at http://w-2: refused" in text


def test_top_fits_the_terminal() -> None:
    found = [session(f"{number:08d}", number) for number in range(50)]
    text = shown({"worker": "w-1", "draining": False, "sessions": found}, lines=17)
    assert "00000049" in text
    assert "00000039" not in text
    assert "and 40 more" in text


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """A worker with three sessions; the qlogs that are asked of it."""
    asked: list[tuple[str, float]] = []

    def qlog(client: AdminClient, session_id: str, seconds: float) -> bytes:
        asked.append((session_id, seconds))
        return json.dumps({"traces": [{"events": [1, 2, 3]}]}).encode()

    found = {"sessions": [session("a111"), session("a122"), session("b000")]}
    monkeypatch.setattr(AdminClient, "workers", lambda client: [client])
    monkeypatch.setattr(AdminClient, "sessions", lambda client: found)
    monkeypatch.setattr(AdminClient, "qlog", qlog)
    return asked


def test_qlog_takes_the_beginning_of_an_id(
    worker: list[tuple[str, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions.qlog("a11", seconds=3.0, out=tmp_path / "call.qlog")
    assert worker == [("a111", 3.0)]
    assert (tmp_path / "call.qlog").exists()
    assert "call.qlog: 3 events" in capsys.readouterr().out


@pytest.mark.parametrize(("given", "which"), [("a1", "2 sessions begin"), ("c", "no session begins")])
def test_qlog_refuses_a_beginning_that_names_no_one_session(
    worker: list[tuple[str, float]], given: str, which: str
) -> None:
    with pytest.raises(ConfigurationError, match=which):
        sessions.qlog(given)
    assert worker == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_workers_of_a_supervisor_are_asked_on_its_host_and_as_it_is(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    document = {"workers": [{"admin": "0.0.0.0:9091"}, {"admin": "203.0.113.9:9092"}, {"admin": None}]}
    monkeypatch.setattr(AdminClient, "_json", lambda client, url: document)
    found = AdminClient.of(f"{scheme}://box.example.com:9090/", token="secret-of-operators").workers()
    assert [each.base for each in found] == [f"{scheme}://box.example.com:{port}" for port in (9091, 9092)]
    assert {each.token for each in found} == {"secret-of-operators"}


def test_a_token_comes_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-of-operators\n")
    assert AdminClient.of("127.0.0.1:1", tmp_path / "token").token == "secret-of-operators"
    with pytest.raises(ConfigurationError, match="--token-file"):
        AdminClient.of("127.0.0.1:1", tmp_path / "none")
