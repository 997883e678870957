"""Many calls at once through the load balancer to one worker: frames acknowledged, their lateness, and the cost.

Callers speak noise in real time and are answered by the echo agent, in speech about a quarter of the time. They run in
processes of their own on the same machine. Lateness is a frame's arrival behind the earliest transit of its call; where
the callers themselves fall behind real time for want of CPU, the lateness is theirs, and the table says so. The cost is
the worker's own CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.figures import percentile, save, summary, table
from bench.gaps import noise
from deploy.local.cluster import Cluster, ClusterOptions
from voice_client import AudioOptions, Security, VoiceClient
from voice_client.audio.source import PcmSource

TALK_S, PAUSE_S = 2.0, 3.0
CALLER_PROCESSES = 2
PROFILE_S = 10
# Where a sample belongs: the innermost frame of ours or aioquic's decides.
LAYERS = [
    ("aioquic/h3", "HTTP/3 (aioquic)"),
    ("aioquic", "QUIC (aioquic)"),
    ("voicelink/quic", "QUIC (ours)"),
    ("voice_gateway/endpoint", "UDP endpoint"),
    ("voicelink/h3", "WebTransport"),
    ("voice_gateway/transport", "transport"),
    ("voicelink/wire", "wire format"),
    ("voice_gateway/session", "session"),
    ("voicelink/audio", "codecs"),
    ("voice_gateway/agent", "agent"),
]


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """CPU seconds used so far and resident kilobytes of one process, from /proc."""

    cpu_s: float
    resident_kb: int

    @classmethod
    def of(cls, pid: int) -> ProcessUse:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") // 1024)


Outcome = tuple[int, int, float]
"""Frames sent, frames acked, and by how many seconds the caller itself fell behind real time."""


async def caller(
    url: str, ca_file: Path, codec: Literal["opus", "pcm16"], seconds: float, start_in_s: float
) -> Outcome:
    """One call of `seconds`."""
    await asyncio.sleep(start_in_s)
    async with VoiceClient(
        url, security=Security(ca_file=ca_file), audio=AudioOptions(codec=codec, has_playback=False), agent="echo"
    ) as call:
        began_s = time.monotonic()
        rounds = max(1, round(seconds / (TALK_S + PAUSE_S)))
        for _ in range(rounds):
            await call.speak(PcmSource(noise(TALK_S) + bytes(int(PAUSE_S * 32_000))))
        behind_s = time.monotonic() - began_s - rounds * (TALK_S + PAUSE_S)
        await call.finish()
        return call.frames_sent, call.frames_acked, behind_s


def caller_process(
    url: str, ca_file: Path, codec: Literal["opus", "pcm16"], calls: int, seconds: float, results: Any
) -> None:
    """Run `calls` callers, begun over five seconds so that they do not speak in step."""

    async def run() -> list[Outcome | BaseException]:
        each = (caller(url, ca_file, codec, seconds, 5.0 * index / calls) for index in range(calls))
        return await asyncio.gather(*each, return_exceptions=True)

    results.put([one if isinstance(one, tuple) else repr(one) for one in asyncio.run(run())])


async def measure(calls: int, seconds: float, codec: Literal["opus", "pcm16"]) -> None:
    async with Cluster(ClusterOptions(workers=1, agent="echo")) as cluster:
        pid = cluster.worker_pid(0)
        idle = ProcessUse.of(pid)
        context = multiprocessing.get_context("spawn")
        results = context.Queue()
        shares = [calls // CALLER_PROCESSES + (index < calls % CALLER_PROCESSES) for index in range(CALLER_PROCESSES)]
        processes = [
            context.Process(target=caller_process, args=(cluster.url, cluster.ca_file, codec, share, seconds, results))
            for share in shares
        ]
        for process in processes:
            process.start()
        await asyncio.sleep(10.0)
        before, began_s = ProcessUse.of(pid), time.monotonic()
        live = [each for each in await cluster.sessions() if each["state"] == "active"]
        profile = await asyncio.to_thread(sample, pid, min(PROFILE_S, seconds / 3))
        await asyncio.sleep(max(0.0, seconds - 15.0 - (time.monotonic() - began_s)))
        after, elapsed_s = ProcessUse.of(pid), time.monotonic() - began_s
        ended = [one for _ in processes for one in await asyncio.to_thread(results.get)]
        for process in processes:
            process.join()
        uplinks = [each["uplink"] for each in await cluster.sessions()]
    report(calls, seconds, codec, ended, uplinks, live, profile, (idle, before, after, elapsed_s))


def sample(pid: int, seconds: float) -> Counter[str]:
    """Profile a process by sampling; returns samples for each layer."""
    program = Path(sys.executable).with_name("py-spy")
    command = [str(program), "record", "--pid", str(pid), "--duration", str(int(seconds)), "--format", "raw"]
    found = subprocess.run([*command, "--full-filenames", "--output", "/dev/stdout"], capture_output=True, text=True)
    counts: Counter[str] = Counter()
    for line in found.stdout.splitlines():
        stack, _, samples = line.rpartition(" ")
        if samples.isdigit():
            counts[layer(stack)] += int(samples)
    return counts


def layer(stack: str) -> str:
    """The layer of the innermost frame that belongs to one."""
    for frame in reversed(stack.split(";")):
        for part, name in LAYERS:
            if part in frame:
                return name
    return "event loop and other"


def report(
    calls: int,
    seconds: float,
    codec: str,
    ended: list[Outcome | str],
    uplinks: list[dict[str, Any]],
    live: list[dict[str, Any]],
    profile: Counter[str],
    use: tuple[ProcessUse, ProcessUse, ProcessUse, float],
) -> None:
    idle, before, after, elapsed_s = use
    whole = [one for one in ended if isinstance(one, tuple)]
    sent, acked = sum(one[0] for one in whole), sum(one[1] for one in whole)
    sessions = len(live) or 1
    rows: list[list[object]] = [
        ["calls asked / completed", f"{calls} / {len(whole)}"],
        ["frames sent / acked", f"{sent} / {acked}"],
        ["lateness p50 over calls, median ms", summary([u["lateness_p50_ms"] for u in uplinks])["median"]],
        ["lateness p99 over calls, median ms", summary([u["lateness_p99_ms"] for u in uplinks])["median"]],
        ["lateness p99 over calls, worst ms", percentile([u["lateness_p99_ms"] for u in uplinks], 100)],
        ["callers behind real time at the end, worst s", f"{max((one[2] for one in whole), default=0.0):.2f}"],
        ["worker CPU, share of a core", f"{(after.cpu_s - before.cpu_s) / elapsed_s:.2f}"],
        [
            "worker CPU ms per second of session",
            f"{1000 * (after.cpu_s - before.cpu_s) / elapsed_s / sessions:.1f}",
        ],
        ["worker KB per session", f"{(before.resident_kb - idle.resident_kb) / sessions:.0f}"],
        ["worker KB idle", idle.resident_kb],
    ]
    total = sum(profile.values()) or 1
    parts = [[name, f"{100 * samples / total:.0f} %"] for name, samples in profile.most_common()]
    document = {"calls": calls, "seconds": seconds, "codec": codec, "rows": rows, "profile": parts, "ended": ended}
    title = f"{calls} calls at once, {seconds:g} s, {codec}, one worker, loopback\n\n"
    markdown = (
        title + table(["figure", "value"], rows) + "\n\nWhere the worker's time goes\n\n" + table(["", ""], parts)
    )
    save("calls", document, markdown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each call")
    parser.add_argument("--codec", choices=["opus", "pcm16"], default="opus")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.calls, arguments.seconds, arguments.codec))


if __name__ == "__main__":
    main()
