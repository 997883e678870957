"""Other servers under the same traffic, echoing frames: they are downloaded and built into the cache, never installed.

What each needs is in `bench/capacity/peers` and `bench/peers/pion`. A peer that cannot be had here is left out, with
the reason.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.capacity.servers.server import Server, ServerError, free_address
from bench.capacity.servers.worker import ROOT

SOURCE = Path(__file__).parents[1] / "peers"
PION = ROOT / "bench" / "peers" / "pion"
CERTIFICATE, KEY = ROOT / "certs" / "dev" / "leaf.pem", ROOT / "certs" / "dev" / "leaf.key"
_FOR_AIOPQUIC = ("python3.14", "python3.13", "python3.12")


def prepare(cache: Path) -> tuple[list[Server], dict[str, str]]:
    """Build the peers beneath `cache`; returns how each is started, and why the others are missing."""
    made: dict[str, Callable[[], Server]] = {
        "plain aioquic": lambda: _quic(
            "plain aioquic", _environment(cache / "venv", sys.executable, "requirements.txt")
        ),
        "aiopquic": lambda: _quic("aiopquic", _environment(cache / "aiopquic", _newer_python(), "aiopquic.txt")),
        "websockets, TLS": lambda: _websocket("websockets, TLS", cache / "venv"),
        "picows, TLS": lambda: _websocket("picows, TLS", cache / "venv"),
        "pion, WebRTC": lambda: _pion(cache),
    }
    found, missing = [], {}
    for name, make in made.items():
        try:
            found.append(make())
        except ServerError as error:
            missing[name] = str(error)
    return found, missing


def _quic(name: str, python: Path) -> Server:
    address = free_address(socket.SOCK_DGRAM)
    return Server(name, "quic", _command(python, "quic_echo.py", name.split()[-1], address), address)


def _websocket(name: str, environment: Path) -> Server:
    python, address = environment / "bin" / "python", free_address(socket.SOCK_STREAM)
    if not python.exists():
        raise ServerError("its virtual environment could not be made")
    return Server(name, "websocket", _command(python, "websocket_echo.py", name.split(",")[0], address), address)


def _command(python: Path, script: str, library: str, address: str) -> tuple[str, ...]:
    return (str(python), str(SOURCE / script), library, address.rpartition(":")[2], str(CERTIFICATE), str(KEY))


def _pion(cache: Path) -> Server:
    program, go = cache / "pion", shutil.which("go")
    if go is None:
        raise ServerError("Go 1.25 or newer is missing")
    _run([go, "build", "-o", str(program), "."], PION)
    address = free_address(socket.SOCK_STREAM)
    caller = (str(program), "load")
    return Server("pion, WebRTC", "webrtc", (str(program), "serve", address), address, caller=caller)


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


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerError(f"{' '.join(command[:3])} failed: {(done.stdout + done.stderr)[-500:].strip()}")
