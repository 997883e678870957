"""The project's worker, of this tree or of any revision; limits that one address of callers would meet are raised."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tarfile
from pathlib import Path

from bench.capacity.servers.server import Server, ServerError, free_address

ROOT = Path(__file__).parents[3]
_SETTINGS = """[worker]
name = "measured"
listen = "{listen}"

[tls]
certificate = "{certificates}/leaf.pem"
key = "{certificates}/leaf.key"

[agent]
name = "{agent}"

[limits]
address_attempts_per_s = 1000000
address_sessions = 100000

[session]
max_sessions = 100000
drain_timeout_s = 0

[admin]
listen = "{admin}"
"""
"""Keys that every revision from 79b4c42 on knows."""


def worker(tree: Path, name: str, folder: Path, agent: str = "echo") -> Server:
    """Return how the worker of `tree` is started; its settings file goes into `folder`."""
    listen, admin = free_address(socket.SOCK_DGRAM), free_address(socket.SOCK_STREAM)
    settings = folder / f"{name.replace(' ', '-')}-{listen.rpartition(':')[2]}.toml"
    certificates = ROOT / "certs" / "dev"
    settings.write_text(_SETTINGS.format(listen=listen, admin=admin, certificates=certificates, agent=agent))
    program = tree / ".venv" / "bin" / "voice-gateway"
    return Server(
        name,
        "voice",
        (str(program), "serve", "--config", str(settings)),
        listen,
        has_echo=agent != "echo",
        ready_url=f"http://{admin}/readyz",
        environment={"PYTHONPATH": str(tree), "VOICE_GATEWAY_LOG_LEVEL": "error"},
        folder=tree,
    )


def checkout(revision: str, folder: Path) -> tuple[str, Path]:
    """Return a revision's short hash and its tree, set up once with a virtual environment of its own.

    The tree is unpacked beneath `folder` (`git archive`), so that the repository keeps no record of it.
    """
    found = subprocess.run(
        ["git", "rev-parse", "--verify", "--short=7", f"{revision}^{{commit}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if found.returncode:
        raise ServerError(f"there is no revision {revision!r}: {found.stderr.strip()}")
    name = found.stdout.strip()
    tree = folder / name
    is_complete = tree / ".is-set-up"
    if is_complete.exists():
        return name, tree
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    with subprocess.Popen(["git", "archive", name], cwd=ROOT, stdout=subprocess.PIPE) as archive:
        if archive.stdout is None:
            raise ServerError("git archive was started without a pipe")
        with tarfile.open(fileobj=archive.stdout, mode="r|") as files:
            files.extractall(tree, filter="data")
    made = subprocess.run(["make", "setup"], cwd=tree, capture_output=True, text=True)
    if made.returncode:
        raise ServerError(f"{name} cannot be set up: {(made.stdout + made.stderr)[-2000:]}")
    is_complete.touch()
    return name, tree
