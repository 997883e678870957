"""A worker of a supervisor: `python -m voice_gateway.supervisor.processes.child FD`, started by that alone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from quiclb.errors import QuicLbError
from quiclb.logs import writer as log_writer
from quiclb.logs.setup import LogFormat, configure_logging
from voice_gateway.errors import GatewayError
from voice_gateway.ops.reload import SettingsSource
from voice_gateway.supervisor.plan import BoxPlan
from voice_gateway.supervisor.processes.messages import ALIVE_EVERY_S, MAX_BYTES, Alive, Serving, encode, read_setup
from voice_gateway.supervisor.sockets import inherited_socket
from voice_gateway.worker.preflight import Insistence
from voice_gateway.worker.worker import Worker, run
from voicelink.errors import VoiceLinkError

ORPHAN_DRAIN_S: Final = 0.5
"""How long a worker whose supervisor is gone lets callers go: the next supervisor needs the port."""
_log = structlog.get_logger("voice_gateway.supervisor.processes.child")


def main() -> None:
    """Serve until SIGTERM, or until the supervisor at the other end of the socket pair is gone."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.setblocking(True)
    setup = read_setup(channel.recv(MAX_BYTES))
    channel.setblocking(False)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # the supervisor's, and sent to the whole service by mistake
    with suppress(OSError):  # the core may have been taken offline
        os.sched_setaffinity(0, {setup.core})
    configure_logging(LogFormat(setup.log_format), setup.log_level)
    plan = BoxPlan(
        None if setup.config is None else Path(setup.config),
        setup.flags,
        Path(setup.state),
        setup.workers,
        setup.sessions,
        Insistence(insecure=setup.is_insecure, root=setup.may_be_root),
    )
    source = SettingsSource(plan.config, lambda: plan.load_worker(os.environ, setup.slot))
    sockets = {key: inherited_socket(fd) for key, fd in setup.sockets.items()}
    try:
        status = run(source.load(), lambda worker: _report(worker, channel), source, sockets)
    except (GatewayError, VoiceLinkError, QuicLbError) as error:
        _log.error("worker_cannot_start", error=str(error))
        status = 1
    log_writer.flush()
    sys.exit(status)


def _report(worker: Worker, channel: socket.socket) -> None:
    """Tell the supervisor that the worker serves and lives, and end the worker once the supervisor is gone."""
    loop = asyncio.get_running_loop()
    channel.send(encode(Serving(worker.addresses.admin)))

    def send_alive() -> None:
        with suppress(OSError):  # full, or closed
            channel.send(encode(Alive()))
        loop.call_later(ALIVE_EVERY_S, send_alive)

    async def end() -> None:
        _log.warning("supervisor_lost", remedy="start `voice-gateway up` again: calls resume")
        await worker.stop(ORPHAN_DRAIN_S)
        os.kill(os.getpid(), signal.SIGTERM)

    def is_readable() -> None:
        loop.remove_reader(channel)  # nothing is sent this way but the end
        ending.append(loop.create_task(end()))

    ending: list[asyncio.Task[None]] = []
    loop.add_reader(channel, is_readable)
    send_alive()


if __name__ == "__main__":
    main()
