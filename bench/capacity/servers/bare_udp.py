"""A server in C that echoes bare datagrams: it costs what waking and sending cost on this machine, and no more."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from bench.capacity.servers.peers import SOURCE
from bench.capacity.servers.server import Server, ServerError, free_address
from bench.lb.traffic import native

PROGRAM = "udp_echo"


def bare_udp(cache: Path) -> Server:
    """Compile the echo into `cache` and return how it is started; raises `ServerError` without a C compiler."""
    try:
        program = native.build(cache, [PROGRAM], sources=SOURCE)[PROGRAM]
    except (native.CompilerMissingError, subprocess.CalledProcessError) as error:
        raise ServerError(str(error)) from error
    address = free_address(socket.SOCK_DGRAM)
    return Server("UDP echo, nothing else", "udp", (str(program), address), address)
