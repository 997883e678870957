"""The three commands with output that fails, in a shell as people run them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from quiclb.logs.command_output import Output, OutputError, optional_output

ORDER = "voice_gateway.agents.order"
COMMANDS = [
    "quiclb --help",
    "voice-gateway --help",
    f"python -m {ORDER}",
    f"python -m {ORDER} --json",
    "voice-client --help",
]
BIN = Path(sys.executable).parent


def shell(line: str, **environment: str) -> tuple[int, str, str]:
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "QUICLB_CONFIG": "", "COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_broken_pipe_ends_the_command_quietly_with_141(command):
    status, _, errors = shell(f"{command} | true")
    assert (status, errors) == (141, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_output_on_a_full_disk_is_one_sentence_and_status_1(command):
    status, _, errors = shell(f"{command} > /dev/full")
    name = ORDER if ORDER in command else command.split()[0]
    assert (status, errors) == (1, f"{name}: cannot write to standard output: no space left on device\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_closed_output_is_none(command):
    assert shell(f"{command} >&-") == (0, "", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_output_is_ascii_where_no_more_is_known(command):
    status, out, errors = shell(command, PYTHONIOENCODING="ascii")
    assert (status, errors) == (0, "")
    assert out.isascii()


def test_endless_output_ends_with_its_reader():
    lines = 'while echo \'{"client": "198.51.100.7:1", "datagram": "00"}\'; do :; done'
    config = "deploy/quiclb/minimal.toml"
    status, out, errors = shell(f"{{ {lines}; }} 2>/dev/null | quiclb route -c {config} --json | head -1")
    assert status in (141, 1)  # the shell's own echo dies of the same
    assert out.count("\n") == 1
    assert errors == ""


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-"])
def test_an_error_that_cannot_be_printed_leaves_the_status(where):
    assert shell(f"quiclb decode zz {where}") == (1, "", "")


def test_a_name_that_is_no_text_is_shown_escaped():
    status, _, errors = shell("voice-gateway check -c $'/nowhere/\\xff.toml'")
    assert status == 1
    assert "/nowhere/\\udcff.toml" in errors


class Stopped(io.StringIO):
    """A terminal that takes nothing until it `is_open`."""

    def __init__(self) -> None:
        super().__init__()
        self.is_open = threading.Event()

    def write(self, text: str) -> int:
        assert self.is_open.wait(10)
        return super().write(text)


def test_output_in_the_background_does_not_wait_for_a_terminal_that_is_stopped(monkeypatch):
    terminal = Stopped()
    monkeypatch.setattr("sys.stdout", Output(terminal, "voice-client"))
    with optional_output(is_background=True):
        for number in range(3):
            print(number, flush=True)
        assert terminal.getvalue() == ""
        terminal.is_open.set()
    assert terminal.getvalue() == "0\n1\n2\n"
    print("after")
    assert terminal.getvalue().endswith("after\n")


def test_output_in_the_background_that_fails_is_reported_once(monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        output = Output(full, "voice-client")
        monkeypatch.setattr("sys.stdout", output)
        with optional_output(is_background=True):
            for number in range(3):
                print(number, flush=True)
        assert capsys.readouterr().err.count("cannot write to standard output: no space left on device; going on") == 1
        with pytest.raises(OutputError):
            print("after")
        assert output.exit_status(0) == 1
