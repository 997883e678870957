"""Play the inputs of a trace to the Python client's parts and return the outputs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, cast

import msgspec

from testbed.simnet.loop import VirtualLoop
from voice_client.call.recovery import Recovery
from voice_client.call.turns import Turns
from voice_client.errors import AccessRefused, CallLost, ClientError
from voice_client.events import Event, Interrupted, Resumed
from voice_client.transport.link import Link
from voice_client.uplink.redundancy import Redundancy
from voice_client.uplink.sender import Outgoing, UplinkCounters, UplinkSender
from voicelink.wire import (
    AudioFrame,
    Codec,
    Latency,
    Malformed,
    Measured,
    UplinkReport,
    decode_uplink_datagram,
)

Trace = dict[str, Any]
Step = Sequence[Any]
"""`[at_ms, input, ...arguments]`."""

START_S = 100.0


def now_s(step: Step) -> float:
    return START_S + float(step[0]) / 1000


def frame_of(sequence: int, timestamp: int, byte_count: int) -> AudioFrame:
    """The frame that a trace names by its number, media time and length."""
    return AudioFrame(sequence, timestamp, Codec.OPUS, bytes([sequence & 0xFF]) * byte_count)


def play_sender(trace: Trace) -> list[Any]:
    """For each step what is sent, in short (`shown`), and when `tick` is due."""
    settings, counters = trace["settings"], UplinkCounters()
    limit_ms = settings["limit_ms"]
    sender = UplinkSender(
        settings["next_sequence"],
        lambda: int(settings["max_bytes"]),
        counters,
        START_S,
        limit_s=None if limit_ms is None else limit_ms / 1000,
    )
    outputs: list[Any] = []
    for step in trace["steps"]:
        match step[1:]:
            case ["append", sequence, timestamp, byte_count, has_room]:
                frame = frame_of(sequence, timestamp, byte_count)
                sent: list[Outgoing] | Malformed = sender.append(frame, now_s(step), has_room=has_room)
            case ["report", newest, received, held_ms, next_sequence, runs]:
                report = UplinkReport(newest, received, held_ms, next_sequence, tuple((m, p) for m, p in runs))
                sent = sender.report_received(report, now_s(step))
            case ["path_changed"]:
                sender.path_changed(now_s(step))
                sent = []
            case _:
                sent = sender.tick(now_s(step))
        shown = "malformed" if isinstance(sent, Malformed) else [_shown(each) for each in sent]
        due = sender.deadline
        due_ms = None if due is None else round((due - START_S) * 1000, 2)
        outputs.append([shown, due_ms, counters.given_up, counters.repaired])
    return outputs


def _shown(outgoing: Outgoing) -> str:
    if isinstance(outgoing, AudioFrame):
        return f"stream: {outgoing.sequence}"
    datagram = decode_uplink_datagram(outgoing)
    assert datagram is not None
    assert not isinstance(datagram, Malformed)
    frames = " ".join(str(frame.sequence) for frame in datagram.frames)
    return f"datagram {datagram.number}, first {datagram.first}: {frames}"


def play_redundancy(trace: Trace) -> list[Any]:
    """For each report, or change of path, the distances at which frames are repeated."""
    redundancy = Redundancy()
    outputs = []
    for step in trace["steps"]:
        match step[1:]:
            case ["observe", sent, received, rtt_ms]:
                redundancy.observe(sent, received, rtt_ms / 1000, now_s(step))
            case _:
                redundancy.path_changed(now_s(step))
        outputs.append(list(redundancy.distances))
    return outputs


def play_turns(trace: Trace) -> list[Any]:
    """For each step the message to the server and all that is known of its turn, or `None`."""
    turns = Turns()
    outputs: list[Any] = []
    for step in trace["steps"]:
        at = now_s(step)
        measured: Measured | None = None
        match step[1:]:
            case ["captured", sequence]:
                turns.captured(sequence, at)
            case ["round_trip", rtt_ms]:
                turns.round_trip(rtt_ms, at)
            case ["announced", utterance, turn]:
                turns.announced(utterance, turn)
            case ["arrived", utterance]:
                turns.arrived(utterance, at)
            case ["audible", utterance]:
                measured = turns.audible(utterance, at)
            case ["latency", latency]:
                measured = turns.latency_received(msgspec.convert({"type": "latency", **latency}, Latency))
            case ["flushed", utterance, onset]:
                measured = turns.flushed(utterance, onset, at)
            case ["resumed", turn, gap_ms, replayed]:
                measured = turns.resumed(turn, gap_ms, replayed)
            case _:
                raise AssertionError(step)
        outputs.append(
            None if measured is None else [_plain(msgspec.structs.asdict(measured)), _known(turns, measured)]
        )
    return outputs


def _known(turns: Turns, measured: Measured) -> dict[str, Any]:
    known = asdict(turns.of(measured.turn))
    del known["migration_gap_ms"]  # browsers do not migrate
    return _plain(known)


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """Without what is absent or 0."""
    return {name: value for name, value in record.items() if value}


class _Connection:
    """Has owed an answer since the last step that says so."""

    probe_timeout_s = 0.1

    def __init__(self) -> None:
        self.silent_since: float | None = None

    @property
    def stalled_s(self) -> float:
        return 0.0 if self.silent_since is None else asyncio.get_running_loop().time() - self.silent_since

    def probe(self) -> None: ...


class SimulatedCall:
    """What `Recovery` needs of a call; `output` takes `[at_ms, what, ...]`."""

    def __init__(self, trace: Trace) -> None:
        self._loop = asyncio.get_running_loop()
        self._attempts: list[Any] = list(trace["settings"]["attempts"])
        self.outputs: list[list[Any]] = []
        self.latest_rtt_ms: float | None = trace["settings"]["rtt_ms"]
        self.began_at: float | None = self._loop.time()
        self.is_over = False
        self.link: Any = _LinkStub()
        self.recovery = Recovery(
            cast(Any, self), self._emit, self._dial, lambda _: b"\x80", trace["settings"]["resume_timeout_ms"] / 1000
        )

    @property
    def can_resume(self) -> bool:
        return not self.is_over

    def end(self, error: ClientError | None) -> None:
        if not self.is_over:
            self.is_over = True
            self.recovery.stop()
            assert error is not None
            self.output("ended", _KINDS[type(error)])

    def lose(self) -> None:
        """The connection closes; as `Call.link_lost`."""
        self.recovery.interrupted(self.link, "closed", CallLost("closed"))
        self.link = None
        self.recovery.redial()

    def output(self, *what: Any) -> None:
        assert self.began_at is not None
        self.outputs.append([round((self._loop.time() - self.began_at) * 1000), *what])

    def _emit(self, event: Event) -> None:
        if isinstance(event, Interrupted):
            self.output("interrupted")
        elif isinstance(event, Resumed):
            self.output("resumed", round(event.gap_ms), event.has_reconnected)

    async def _dial(self, link: Link, has_address: bool) -> None:
        after_ms, outcome = self._attempts.pop(0) if self._attempts else (None, None)
        if after_ms is None:
            await self._loop.create_future()  # for ever
            return
        await asyncio.sleep(after_ms / 1000)
        if outcome == "opens":
            self.link = link
            cast(Any, link).connection = _Connection()
            link.settled.set()
            self.recovery.resumed("worker-2", has_reconnected=True)
        else:
            raise AccessRefused("no")


class _LinkStub:
    def __init__(self) -> None:
        self.connection = _Connection()


_KINDS = {CallLost: "call-lost", AccessRefused: "access-refused"}


def play_recovery(trace: Trace) -> list[Any]:
    """All outputs, each with its time, to the end of the trace."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_recover(trace))
    finally:
        loop.close()


async def _recover(trace: Trace) -> list[Any]:
    loop = asyncio.get_running_loop()
    call = SimulatedCall(trace)
    call.recovery.watch()
    began_at = loop.time()
    for at_ms, what in [*trace["steps"], [trace["settings"]["end_ms"], "end"]]:
        await asyncio.sleep(began_at + at_ms / 1000 - loop.time())
        if what == "silent":
            call.link.connection.silent_since = loop.time()
        elif what == "answers":
            call.link.connection.silent_since = None
        elif what == "closed":
            call.lose()
    call.is_over = True
    call.recovery.stop()
    await asyncio.sleep(0.001)
    return call.outputs


PLAYERS: dict[str, Callable[[Trace], list[Any]]] = {
    "sender": play_sender,
    "redundancy": play_redundancy,
    "recovery": play_recovery,
    "turns": play_turns,
}
