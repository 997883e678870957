"""How the commands that are printed for a user name the programs of this environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from voice_gateway.cli.programs import shell_command


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `bin` of an environment below the working directory, with one program in it; the search path is empty."""
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    _install(folder, "voice-client")
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)
    return folder


def _install(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


def test_before_activate_a_program_is_called_by_its_path_from_the_shells_folder(environment: Path) -> None:
    assert shell_command("voice-client") == ".venv/bin/voice-client"
    assert shell_command("voice-client", folder=Path("shop")) == "../.venv/bin/voice-client"


def test_after_activate_a_program_is_called_by_its_name(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(environment))
    assert shell_command("voice-client") == "voice-client"


def test_another_program_of_that_name_on_the_search_path_is_not_meant(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(environment.parents[1] / "other", "voice-client")
    monkeypatch.setenv("PATH", str(environment.parents[1] / "other"))
    assert shell_command("voice-client") == ".venv/bin/voice-client"


def test_an_environment_elsewhere_is_named_in_full_and_quoted(
    environment: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "my programs"
    _install(elsewhere, "voice-client")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(sys, "executable", str(elsewhere / "python"))
    assert shell_command("voice-client") == f"'{elsewhere}/voice-client'"


def test_from_a_folder_elsewhere_a_program_is_named_in_full(environment: Path, tmp_path: Path) -> None:
    assert shell_command("voice-client", folder=tmp_path.parent / "shop") == f"{environment}/voice-client"


def test_a_program_that_is_not_installed_here_keeps_its_name(environment: Path) -> None:
    assert shell_command("pytest") == "pytest"
