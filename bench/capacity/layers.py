"""Where a worker's main thread spends its time: samples of py-spy, each counted for one layer.

Layers are distinguished by folder names, of this tree and of its earlier layout, and inside QUIC by what a function's
name says it does: no function of ours is known by name.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

RATE_HZ = 199
"""No divisor of the timers' 20 ms, with which samples would keep step."""
MAIN_THREAD = "MainThread"
OTHER = "event loop and other"
QUIC_RECEIVE, QUIC_BUILD, QUIC_OTHER, SENDTO = "QUIC receive", "QUIC build", "QUIC other", "sendto"
_QUIC = "QUIC"
_LAYERS = (
    ("rate limits", ("/quic/limits/", "/voice_gateway/access/", "/gateway/access/", "token_bucket", "rate_limiter")),
    ("timers", ("deadline_timer", "/gateway/alarm")),
    ("agent and VAD", ("/voice_gateway/agent", "/gateway/agent", "/audio/vad", "/bench/capacity/servers/")),
    ("codec", ("/voicelink/audio/", "/gateway/audio/", "/opuslib_next/")),
    ("session", ("/voice_gateway/session/", "/gateway/session/", "/voice_gateway/store/", "/gateway/store/")),
    (
        "HTTP/3 and transport",
        (
            "/voicelink/h3/",
            "/gateway/h3/",
            "/aioquic/h3/",
            "/voicelink/wire/",
            "/gateway/wire/",
            "/voice_gateway/transport/",
            "/gateway/transport/",
        ),
    ),
    (_QUIC, ("/aioquic/", "/voicelink/quic/", "/gateway/quic/", "/voice_gateway/endpoint/")),
)
LAYERS = (QUIC_RECEIVE, QUIC_BUILD, SENDTO, QUIC_OTHER, *(name for name, _ in _LAYERS if name != _QUIC), OTHER)
_SENDS = re.compile(r"\b(__)?(libc_)?send(to|msg|mmsg)\b|uv__udp_sendmsg|UDPTransport__send\b")
_SEND_DEPTH = 6
"""Frames below a call of `sendto` that are still its own: those of uvloop, libuv and libc."""
_WAITS = re.compile(r"\bepoll_p?wait2?\b|\buv__io_poll\b")
"""py-spy takes a thread that waits for sockets in native code for a busy one."""
_BUILDS = re.compile(r"send|write|build|packet_builder|encrypt|transmit")
_RECEIVES = re.compile(r"receive|_handle_|decrypt|pull_")


def sample(pid: int, seconds: float) -> Counter[str]:
    """Profile the main thread of a process and return samples for each layer; the process is slower meanwhile."""
    program = Path(sys.executable).with_name("py-spy")
    command = [str(program), "record", "--pid", str(pid), "--duration", str(max(1, round(seconds)))]
    command += ["--rate", str(RATE_HZ), "--format", "raw", "--threads", "--full-filenames", "--output", "/dev/stdout"]
    for options in (["--native"], []):
        found = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        counts = count(found.stdout)
        if counts:
            return counts
    return Counter()


def count(raw: str) -> Counter[str]:
    """Count py-spy's raw stacks, `frame;frame N` from the outermost in, by layer; those that wait do not count."""
    counts: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, samples = line.rpartition(" ")
        frames = stack.split(";")
        if samples.isdigit() and MAIN_THREAD in stack and not any(_WAITS.search(each) for each in frames[-2:]):
            counts[layer(frames)] += int(samples)
    return counts


def layer(frames: list[str]) -> str:
    """Return the layer of the innermost frame that belongs to one; a system call that sends is one by itself."""
    if any(_SENDS.search(frame) for frame in frames[-_SEND_DEPTH:]):
        return SENDTO
    for index in range(len(frames) - 1, -1, -1):
        for name, parts in _LAYERS:
            if any(part in frames[index] for part in parts):
                return _quic(frames[: index + 1]) if name == _QUIC else name
    return OTHER


def _quic(frames: list[str]) -> str:
    """Tell receiving and building apart by the innermost QUIC function whose name says which it is."""
    for frame in reversed(frames):
        function = frame.partition(" ")[0]
        if _RECEIVES.search(function):
            return QUIC_RECEIVE
        if _BUILDS.search(function):
            return QUIC_BUILD
    return QUIC_OTHER
