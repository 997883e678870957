"""`python -m bench.capacity.moq_callers HOST:PORT PATTERN [--silent]`: the commands of `native/src/main.rs`."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from bench.capacity.generator import CallerView, Grown, Handshakes, Quantiles
from bench.capacity.moq_callers.call import OPEN_TIMEOUT_S, MoqCall, connected
from bench.capacity.traffic import TICKS_PER_MS, TrafficPattern
from bench.figures import percentile

_CLOSING_S = 2.0


class CallCounts:
    """What was counted since it began, of all calls together."""

    def __init__(self) -> None:
        self._began, self._cpu_s = time.monotonic(), _cpu_s()
        self.lost, self.reason = 0, ""
        self._sent = self._received = self._bytes = 0
        self._echo_ms: list[float] = []
        self._jitter_ms: list[float] = []
        self._pong_ms: list[float] = []
        self._behind_ms: list[float] = []

    def sent(self, behind_ms: float) -> None:
        self._sent += 1
        self._behind_ms.append(behind_ms)

    def received(self, size: int, late_ms: list[float], jitter_ms: list[float]) -> None:
        self._received += 1
        self._bytes += size
        self._echo_ms += late_ms
        self._jitter_ms += jitter_ms

    def pong(self, late_ms: float) -> None:
        self._pong_ms.append(late_ms)

    def view(self, sessions: int) -> CallerView:
        """Return it as the generator's `end` does."""
        return CallerView(
            time.monotonic() - self._began,
            sessions,
            self.lost,
            self.reason,
            self._sent,
            self._received,
            self._bytes,
            _cpu_s() - self._cpu_s,
            quantiles(self._echo_ms),
            quantiles(self._jitter_ms),
            quantiles(self._pong_ms),
            quantiles(self._behind_ms),
        )


def quantiles(values: list[float]) -> Quantiles:
    """All 0 where there is no value."""
    if not values:
        return Quantiles(0, 0.0, 0.0, 0.0)
    return Quantiles(len(values), percentile(values, 50), percentile(values, 99), max(values))


class Callers:
    """All calls of this process; it is the observer of each, so that a new window needs no new calls."""

    def __init__(self, server: str, pattern: TrafficPattern) -> None:
        self._server = server
        self._pattern = pattern
        self._window = CallCounts()
        self._calls: list[asyncio.Task[None]] = []
        self._sessions = 0

    async def grow(self, count: int, seconds: float) -> Grown:
        """Begin `count` more calls over that time, and return once each is open or has failed."""
        results = [asyncio.get_running_loop().create_future() for _ in range(count)]
        for index, result in enumerate(results):
            offset = self._pattern.offset(len(self._calls))
            self._calls.append(asyncio.create_task(self._call(seconds * index / count, offset, result)))
        reasons = [each for each in await asyncio.gather(*results) if each]
        self._sessions += count - len(reasons)
        return Grown(self._sessions, count - len(reasons), len(reasons), reasons[-1] if reasons else "")

    async def _call(self, delay_s: float, offset: int, is_open: asyncio.Future[str]) -> None:
        await asyncio.sleep(delay_s)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S) as opening, connected(self._server) as session:
                opening.reschedule(None)
                is_open.set_result("")
                await MoqCall(session, self._pattern, offset, self).run()
        except Exception as error:  # what moq-rs raises has no base of its own
            reason = str(error) or type(error).__name__
            if not is_open.done():
                is_open.set_result(reason)
            else:
                self._sessions -= 1
                self._window.lost += 1
                self._window.reason = reason

    def sent(self, behind_ms: float) -> None:
        self._window.sent(behind_ms)

    def received(self, size: int, late_ms: list[float], jitter_ms: list[float]) -> None:
        self._window.received(size, late_ms, jitter_ms)

    def pong(self, late_ms: float) -> None:
        self._window.pong(late_ms)

    def begin(self) -> None:
        """Begin a window."""
        self._window = CallCounts()

    def end(self) -> CallerView:
        """Return what was counted since."""
        return self._window.view(self._sessions)

    async def handshakes(self, concurrency: int, seconds: float) -> Handshakes:
        """Open and close calls; one is open once the pipeline has subscribed to it."""
        began, cpu_s = time.monotonic(), _cpu_s()
        took_ms: list[float] = []
        reasons: list[str] = []

        async def again() -> None:
            while time.monotonic() - began < seconds:
                since = time.monotonic()
                try:
                    async with asyncio.timeout(OPEN_TIMEOUT_S), connected(self._server):
                        took_ms.append(1000 * (time.monotonic() - since))
                except Exception as error:  # what moq-rs raises has no base of its own
                    reasons.append(str(error) or type(error).__name__)

        await asyncio.gather(*(again() for _ in range(concurrency)))
        return Handshakes(
            time.monotonic() - began,
            len(took_ms),
            len(reasons),
            reasons[-1] if reasons else "",
            _cpu_s() - cpu_s,
            quantiles(took_ms),
        )

    async def close(self) -> None:
        """Close all calls."""
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls, timeout=_CLOSING_S)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main(server: str, pattern: TrafficPattern) -> None:
    """Carry out the commands on standard input."""
    callers = Callers(server, pattern)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).decode():
        match line.split():
            case ["grow", count, seconds]:
                answer: object = await callers.grow(int(count), float(seconds))
            case ["begin"]:
                callers.begin()
                answer = {}
            case ["end"]:
                answer = callers.end()
            case ["handshakes", concurrency, seconds]:
                answer = await callers.handshakes(int(concurrency), float(seconds))
            case ["quit"]:
                break
            case _:
                raise SystemExit(f"unknown command {line!r}")
        print(msgspec.json.encode(answer).decode(), flush=True)
    await callers.close()


if __name__ == "__main__":
    is_silent = "--silent" in sys.argv[3:]
    silence = TrafficPattern(1000 * TICKS_PER_MS, ())
    uvloop.run(main(sys.argv[1], silence if is_silent else TrafficPattern.read(Path(sys.argv[2]))))
