"""A LiveKit server on loopback, and the program of an agent that registers with it."""

from __future__ import annotations

import json
import secrets
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from voice_eval.drivers.base import Endpoint
from voice_eval.errors import EvalError
from voice_eval.targets.base import Strike, Target
from voice_eval.targets.program import Program

PROGRAM: Final = "livekit-server"
_HOST: Final = "127.0.0.1"
_KEY: Final = "voice-eval"


def find_livekit() -> str | None:
    """Return the path of the LiveKit server, on the PATH or beside this interpreter."""
    return shutil.which(PROGRAM) or shutil.which(PROGRAM, path=Path(sys.executable).parent)


class LiveKitTarget(Target):
    """`server`, the agent's program with the calls in it, and `livekit`, the LiveKit server, can be killed.

    LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET name the server to the program. `{port}` in its command is a
    free port, which it has to listen on once it is up.
    """

    def __init__(self, command: str) -> None:
        found = find_livekit()
        if found is None:
            raise EvalError(f"--driver livekit with --server needs {PROGRAM} on the PATH: or give --url of one")
        port, media_port, agent_port = _free_port(), _free_port(socket.SOCK_DGRAM), _free_port()
        words = [each.replace("{port}", str(agent_port)) for each in shlex.split(command)]
        if not words:
            raise EvalError("--server is empty: give the command that starts the agent")
        secret = secrets.token_hex(32)
        url = f"ws://{_HOST}:{port}"
        self._endpoint = Endpoint(url, token=secret, options={"key": _KEY})
        self._address = (_HOST, port)
        self._agent_address = (_HOST, agent_port) if "{port}" in command else None
        self._folder = Path(tempfile.mkdtemp(prefix="voice-eval-livekit-"))
        config = self._folder / "livekit.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps(server_configuration(_HOST, port, media_port, {_KEY: secret})))
        self._livekit = Program([found, "--config", str(config)], self._folder / "livekit.log", {})
        environment = {"LIVEKIT_URL": url, "LIVEKIT_API_KEY": _KEY, "LIVEKIT_API_SECRET": secret}
        self._agent = Program(words, self._folder / "agent.log", environment)

    async def __aenter__(self) -> Self:
        try:
            await self._livekit.start(self._address)
            await self._agent.start(self._agent_address)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._agent.stop()
        await self._livekit.stop()
        with suppress(OSError):
            shutil.rmtree(self._folder)

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def faults(self) -> dict[str, Strike]:
        return {"server": self._agent.restart, "livekit": self._livekit.restart}


def server_configuration(
    host: str, port: int, media_port: int, keys: Mapping[str, str], interface: str = "lo"
) -> dict[str, object]:
    """Return the configuration of a LiveKit server; JSON is YAML. Media is UDP alone, on one port of `interface`.

    `keys` are secrets by key, of at least 32 characters.
    """
    return {
        "port": port,
        "bind_addresses": [host],
        "keys": dict(keys),
        "logging": {"level": "info"},
        "rtc": {
            "udp_port": media_port,
            "tcp_port": 0,
            "use_external_ip": False,
            "node_ip": host,
            "enable_loopback_candidate": interface == "lo",
            "interfaces": {"includes": [interface]},
        },
    }


def _free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(type=kind) as free:
        free.bind((_HOST, 0))
        port: int = free.getsockname()[1]
        return port
