"""Other servers under the same traffic, echoing frames: they are downloaded and built into the cache, never installed.

What each needs is in `bench/capacity/peers` and `bench/peers/pion`; Pipecat is that of `.venv-agents`. A peer that
cannot be had here is left out, with the reason.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.capacity.servers.server import Server, ServerError, free_address
from bench.capacity.servers.worker import ROOT

SOURCE = Path(__file__).parents[1] / "peers"
PION = ROOT / "bench" / "peers" / "pion"
CERTIFICATE, KEY = ROOT / "certs" / "dev" / "leaf.pem", ROOT / "certs" / "dev" / "leaf.key"
AGENTS_PYTHON = ROOT / ".venv-agents" / "bin" / "python"
PIPECAT_DELAY_MS = 40.0
"""Its encoder looks 6.5 ms into the packet that follows, and a caller has a packet's last sample with the next one."""
_PIPECAT_VERSION = "import importlib.metadata, moq; print(importlib.metadata.version('pipecat-ai'))"
_FOR_AIOPQUIC = ("python3.14", "python3.13", "python3.12")


def prepare(cache: Path, wanted: Sequence[str] | None = None) -> tuple[list[Server], dict[str, str]]:
    """Build the peers beneath `cache`; returns how each is started, and why the others are missing.

    `wanted` are parts of the names of those to build; `None` is all.
    """
    made: dict[str, Callable[[str], Server]] = {
        "plain aioquic": lambda name: _quic(
            name, "aioquic", _environment(cache / "venv", sys.executable, "requirements.txt"), "requirements.txt"
        ),
        "aiopquic": lambda name: _quic(
            name, "aiopquic", _environment(cache / "aiopquic", _newer_python(), "aiopquic.txt"), "aiopquic.txt"
        ),
        "websockets, TLS": lambda name: _websocket(name, "websockets", cache / "venv"),
        "picows, TLS": lambda name: _websocket(name, "picows", cache / "venv"),
        "pion, WebRTC": lambda name: _pion(name, cache),
        "aiortc, WebRTC": lambda name: _aiortc(name, cache),
        "Pipecat, MoQ, decoded and encoded": _pipecat,
    }
    found, missing = [], {}
    for name, make in made.items():
        if wanted is not None and not any(each in name for each in wanted):
            continue
        try:
            found.append(make(name))
        except ServerError as error:
            missing[name] = str(error)
    return found, missing


def version_of(package: str, pins: str) -> str:
    """Return the version that a requirements file or a `go.mod` names; raises `ServerError` where it names none."""
    found = re.search(rf"^\s*{re.escape(package)}(?:==| v)([\w.]+)", pins, re.MULTILINE)
    if found is None:
        raise ServerError(f"no version of {package} is pinned")
    return found[1]


def _quic(name: str, library: str, python: Path, pins: str) -> Server:
    address = free_address(socket.SOCK_DGRAM)
    command = _command(python, "quic_echo.py", library, address)
    return Server(name, "quic", command, address, version=_pinned(library, pins))


def _websocket(name: str, library: str, environment: Path) -> Server:
    python, address = environment / "bin" / "python", free_address(socket.SOCK_STREAM)
    if not python.exists():
        raise ServerError("its virtual environment could not be made")
    command = _command(python, "websocket_echo.py", library, address)
    return Server(name, "websocket", command, address, version=_pinned(library, "requirements.txt"))


def _command(python: Path, script: str, library: str, address: str) -> tuple[str, ...]:
    return (str(python), str(SOURCE / script), library, address.rpartition(":")[2], str(CERTIFICATE), str(KEY))


def _pinned(package: str, requirements: str) -> str:
    return version_of(package, (SOURCE / requirements).read_text())


def _pion(name: str, cache: Path) -> Server:
    program, address = _pion_program(cache), free_address(socket.SOCK_STREAM)
    version = version_of("github.com/pion/webrtc/v4", (PION / "go.mod").read_text())
    return Server(
        name, "webrtc", (str(program), "serve", address), address, caller=(str(program), "load"), version=version
    )


def _aiortc(name: str, cache: Path) -> Server:
    python = _environment(cache / "aiortc", sys.executable, "aiortc.txt")
    program, address = _pion_program(cache), free_address(socket.SOCK_STREAM)
    return Server(
        name,
        "webrtc",
        (str(python), str(SOURCE / "webrtc_echo.py"), address),
        address,
        caller=(str(program), "load"),
        version=_pinned("aiortc", "aiortc.txt"),
    )


def _pion_program(cache: Path) -> Path:
    """Build pion, which serves, and which calls both WebRTC peers."""
    program, go = cache / "pion", shutil.which("go")
    if go is None:
        raise ServerError("Go 1.25 or newer is missing")
    _run([go, "build", "-o", str(program), "."], PION)
    return program


def _pipecat(name: str) -> Server:
    try:
        version = _run([str(AGENTS_PYTHON), "-c", _PIPECAT_VERSION], ROOT).strip()
    except (OSError, ServerError) as error:
        raise ServerError("Pipecat with its MoQ transport is missing: make frameworks") from error
    address = free_address(socket.SOCK_STREAM)
    return Server(
        name,
        "moq",
        (str(AGENTS_PYTHON), str(SOURCE / "moq_echo.py"), address, str(CERTIFICATE), str(KEY)),
        address,
        caller=(str(AGENTS_PYTHON), "-m", "bench.capacity.moq_callers"),
        version=version,
        delay_ms=PIPECAT_DELAY_MS,
    )


def _environment(folder: Path, python: str, requirements: str) -> Path:
    """Make a virtual environment, or renew the one there is where its requirements have changed."""
    wanted, done = (SOURCE / requirements).read_text(), folder / ".requirements"
    if not done.exists() or done.read_text() != wanted:
        _run([python, "-m", "venv", "--clear", str(folder)], SOURCE)
        pip = [
            str(folder / "bin" / "pip"),
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--only-binary",
            ":all:",
        ]
        _run([*pip, "-r", requirements], SOURCE)
        done.write_text(wanted)
    return folder / "bin" / "python"


def _newer_python() -> str:
    """Return an interpreter of 3.12 or newer, which aiopquic needs; those of pyenv are found too."""
    installed = [str(each) for each in sorted(Path.home().glob(".pyenv/versions/3.1[2-9]*/bin/python"))]
    for python in (sys.executable, *_FOR_AIOPQUIC, *installed):
        with contextlib.suppress(OSError):
            check = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 12))"]
            if subprocess.run(check, capture_output=True, check=False).returncode == 0:
                return python
    raise ServerError("it needs Python 3.12 or newer")


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerError(f"{' '.join(command[:3])} failed: {(done.stdout + done.stderr)[-500:].strip()}")
    return done.stdout
