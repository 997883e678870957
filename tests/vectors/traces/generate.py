"""Write the traces: what happens is chosen here, and the Python client's parts give the outputs."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.simnet.links import Direction, Profile
from testbed.uplink_link import LinkModel, UplinkOverLink
from tests.vectors.traces.players import PLAYERS, Step, Trace
from voice_client.uplink.redundancy import Redundancy
from voice_client.uplink.sender import Outgoing, UplinkSender
from voicelink.wire import AudioFrame, Malformed, UplinkReport

FOLDER = Path(__file__).parent
ONE_WAY_S = 0.0301
DEADLINE_SLACK_S = 1e-6
"""A tick comes so much late, so that a rounding error of either language cannot make it early."""


class _Recorder:
    """In the place of a sender: notes what goes in."""

    def __init__(self, sender: UplinkSender, start_s: float) -> None:
        self._sender = sender
        self._start_s = start_s
        self.steps: list[Step] = []

    @property
    def deadline(self) -> float | None:
        deadline = self._sender.deadline
        return None if deadline is None else deadline + DEADLINE_SLACK_S

    def append(self, frame: AudioFrame, now: float, *, has_room: bool = True) -> list[Outgoing]:
        self._note(now, "append", frame.sequence, frame.timestamp, len(frame.payload), has_room)
        return self._sender.append(frame, now, has_room=has_room)

    def report_received(self, report: UplinkReport, now: float) -> list[Outgoing] | Malformed:
        runs = [list(run) for run in report.runs]
        self._note(now, "report", report.newest, report.received, report.held_ms, report.next_sequence, runs)
        return self._sender.report_received(report, now)

    def path_changed(self, now: float) -> None:
        self._note(now, "path_changed")
        self._sender.path_changed(now)

    def tick(self, now: float) -> list[Outgoing]:
        self._note(now, "tick")
        return self._sender.tick(now)

    def _note(self, now: float, *what: Any) -> None:
        self.steps.append([round((now - self._start_s) * 1000, 4), *what])


def _lossy(seed: int, loss: float) -> LinkModel:
    rng = random.Random(seed)
    return lambda at, is_up: [] if rng.random() < loss else [ONE_WAY_S]


def _dark(begin_s: float, end_s: float) -> LinkModel:
    return lambda at, is_up: [] if begin_s <= at - 100.0 < end_s else [ONE_WAY_S]


def _longer_from(begin_s: float, seed: int, loss: float) -> LinkModel:
    rng = random.Random(seed)
    return lambda at, is_up: [] if rng.random() < loss else [ONE_WAY_S + 0.1 * (at - 100.0 >= begin_s)]


NARROW = Profile(delay_s=0.0, rate_bytes_s=8_000, queue_bytes=16_000)
"""64 kbit/s: enough for a frame once, and not with a repeat."""


def _sender(
    what: str,
    weather: LinkModel,
    frames: int,
    *,
    limit_ms: int | None = None,
    byte_count: int = 60,
    bottleneck: Profile | None = None,
    moved_at_s: float | None = None,
) -> Trace:
    limit_s = None if limit_ms is None else limit_ms / 1000
    link = UplinkOverLink(weather, limit_s=limit_s, bottleneck=None if bottleneck is None else Direction(bottleneck))
    recorder = _Recorder(link.sender, link.now)
    link.sender = recorder  # type: ignore[assignment]  # it stands in for the sender
    link.say(frames, byte_count=byte_count)
    end = link.now + frames * 0.02 + 1.0
    if moved_at_s is not None:
        link.run_until(link.now + moved_at_s)
        recorder.path_changed(link.now)
    link.run_until(end)
    settings = {"next_sequence": 0, "max_bytes": 1_180, "limit_ms": limit_ms}
    return {"what": what, "settings": settings, "steps": recorder.steps}


def senders() -> list[Trace]:
    rejected: Trace = {
        "what": "frames without room, out of order in time or too large go on the stream; a false report is refused",
        "settings": {"next_sequence": 7, "max_bytes": 1_180, "limit_ms": None},
        "steps": [
            [0, "append", 7, 960, 60, True],
            [20, "append", 8, 1_920, 60, False],
            [40, "append", 9, 1_000, 60, True],
            [60, "append", 10, 3_840, 1_180, True],
            [80, "append", 11, 4_800, 60, True],
            [120, "report", 1, 2, 5, 12, []],
            [130, "report", 2, 3, 0, 12, []],
            [140, "report", 1, 2, 0, 13, []],
        ],
    }
    return [
        _sender("a link without loss", _lossy(0, 0.0), 40),
        _sender("a tenth of the datagrams is lost", _lossy(1, 0.1), 120),
        _sender("four of ten datagrams are lost", _lossy(2, 0.4), 60),
        _sender("nothing gets through for 0.7 s", _dark(0.4, 1.1), 80),
        _sender("the deadline mode gives up frames older than 200 ms", _dark(0.3, 1.0), 60, limit_ms=200),
        _sender("the link carries each frame once", _lossy(4, 0.0), 150, bottleneck=NARROW),
        _sender("the caller moves to a path of 0.2 s more", _longer_from(1.0, 6, 0.1), 120, moved_at_s=1.0071),
        _sender("nothing is known of the path for 0.8 s", _dark(0.0, 0.8), 60),
        _sender("large frames use up the token bucket for repairs", _lossy(3, 0.3), 60, byte_count=600),
        rejected,
    ]


def _reports(
    what: str,
    loss: list[float],
    queued_ms: Callable[[float, int], float] = lambda at_ms, repeats: 0.0,
    loss_per_repeat: float = 0.0,
    moved_at_ms: float = math.inf,
) -> Trace:
    """A report each 40 ms or so, of two datagrams; `queued_ms` of the round trip is a queue, by time and repeats.

    The times are uneven so that none is the end of a pause to the microsecond, where languages may round differently.
    """
    rng, redundancy = random.Random(what), Redundancy()
    sent = received = 0
    steps: list[Step] = []
    for index, share in enumerate(loss):
        sent += 2
        received += sum(rng.random() >= share + loss_per_repeat * redundancy.repeats for _ in range(2))
        at_ms = round(index * 40 + rng.uniform(0, 3), 4)
        if at_ms >= moved_at_ms:
            moved_at_ms = math.inf
            steps.append([at_ms - 1, "path_changed"])
            redundancy.path_changed((at_ms - 1) / 1000)
        rtt_ms = round(60 + rng.uniform(0, 5) + queued_ms(at_ms, redundancy.repeats), 4)
        steps.append([at_ms, "observe", sent, received, rtt_ms])
        redundancy.observe(sent, received, rtt_ms / 1000, at_ms / 1000)
    return {"what": what, "settings": {}, "steps": steps}


def redundancies() -> list[Trace]:
    return [
        _reports("no loss: repeats end, one each 2 s", [0.0] * 260),
        _reports("loss comes and goes", [0.0] * 120 + [0.1] * 100 + [0.0] * 260),
        _reports("bursts: half of what is sent is lost, at times", ([0.0] * 20 + [0.5] * 5) * 12),
        _reports("repeats queue: pauses double", [0.1] * 500, lambda at_ms, repeats: 150.0 * repeats),
        _reports("two repeats queue, and one does not", [0.1] * 400, lambda at_ms, repeats: 90.0 * (repeats > 1)),
        _reports("other traffic queues", [0.1] * 300, lambda at_ms, repeats: 200.0 * (4_000 <= at_ms < 5_500)),
        _reports("the path becomes longer", [0.1] * 300, lambda at_ms, repeats: 200.0 * (at_ms >= 4_000)),
        _reports(
            "the path becomes longer twice, and the second time it may be a queue",
            [0.1] * 400,
            lambda at_ms, repeats: 100.0 * (at_ms >= 4_000) + 100.0 * (at_ms >= 8_000),
        ),
        _reports(
            "the caller moves to a longer path",
            [0.1] * 200,
            lambda at_ms, repeats: 200.0 * (at_ms >= 4_000),
            moved_at_ms=4_000,
        ),
        _reports(
            "the caller moves from a path where repeats queue",
            [0.1] * 450,
            lambda at_ms, repeats: 150.0 * repeats * (at_ms < 14_000),
            moved_at_ms=14_000,
        ),
        _reports("four of ten are lost, and not by repeats", [0.4] * 400),
        _reports("each repeat makes a fifth be lost", [0.02] * 600, loss_per_repeat=0.2),
    ]


def _recovery(what: str, steps: list[Step], attempts: list[Any], **settings: Any) -> Trace:
    defaults = {"rtt_ms": 0, "resume_timeout_ms": 60_000, "end_ms": 5_000, "attempts": attempts}
    return {"what": what, "settings": defaults | settings, "steps": steps}


def recoveries() -> list[Trace]:
    return [
        _recovery("a silent connection is replaced", [[1_000, "silent"]], [[120, "opens"]]),
        _recovery("a pause shorter than the limit changes nothing", [[1_000, "silent"], [1_700, "answers"]], []),
        _recovery("the old connection answers first", [[1_000, "silent"], [2_210, "answers"]], [[None, None]]),
        _recovery(
            "it goes silent twice",
            [[500, "silent"], [3_000, "silent"]],
            [[100, "opens"], [100, "opens"]],
            end_ms=6_000,
        ),
        _recovery("no attempt is answered: given up", [[1_000, "closed"]], [[None, None]], resume_timeout_ms=2_000),
        _recovery("the token is refused: ended at once", [[1_000, "closed"]], [[80, "refused"]]),
        _recovery("a lost connection is replaced", [[1_000, "closed"]], [[80, "opens"]]),
    ]


LATENCY = {"uplink_ms": 5.0, "endpointing_ms": 400.0, "stt_ms": 21.0, "llm_ms": 130.0, "tts_ms": 60.0}


def _captured(frames: int) -> list[Step]:
    return [[sequence * 20, "captured", sequence] for sequence in range(frames)]


def _latency(turn: int, utterance: int, sequence: int | None, **parts: float | None) -> dict[str, Any]:
    return {"turn": turn, "generation": utterance, "sequence": sequence} | LATENCY | parts


def turns() -> list[Trace]:
    captured: list[Step] = [
        *_captured(50),
        [1_000, "round_trip", 70],
        [1_010, "round_trip", 50],
        [1_020, "round_trip", 90],
    ]
    return [
        {
            "what": "the parts of one answer",
            "settings": {},
            "steps": [
                *captured,
                [1_500, "announced", 1, 1],
                [1_520, "latency", _latency(1, 1, 40)],
                [1_555, "arrived", 1],
                [1_587, "audible", 1],
                [1_600, "audible", 1],
            ],
        },
        {
            "what": "the second answer is audible before the first one's parts are known",
            "settings": {},
            "steps": [
                *captured,
                [1_500, "announced", 1, 1],
                [1_510, "arrived", 1],
                [1_520, "audible", 1],
                [1_600, "announced", 2, 1],
                [1_610, "arrived", 2],
                [1_640, "audible", 2],
                [1_650, "latency", _latency(1, 1, 45)],
                [1_660, "latency", _latency(1, 2, 49)],
            ],
        },
        {
            "what": "parts that are too long together leave nothing for the downlink",
            "settings": {},
            "steps": [
                *captured,
                [1_400, "announced", 1, 1],
                [1_410, "latency", _latency(1, 1, 40, llm_ms=900.0)],
                [1_450, "arrived", 1],
                [1_490, "audible", 1],
            ],
        },
        {
            "what": "unknown parts stay unknown: no frame, no voice activity, an old round trip",
            "settings": {},
            "steps": [
                [0, "round_trip", 20],
                [31_000, "round_trip", 80],
                [31_100, "announced", 1, 0],
                [31_110, "arrived", 1],
                [31_140, "audible", 1],
                [31_150, "latency", _latency(0, 1, None, endpointing_ms=None, stt_ms=None)],
                [31_200, "latency", _latency(3, 9, 4)],
            ],
        },
        {
            "what": "the caller interrupts; an interruption without a frame, or of an unknown answer, is not measured",
            "settings": {},
            "steps": [
                *captured,
                [1_050, "announced", 1, 1],
                [1_100, "flushed", 1, 46],
                [1_150, "announced", 2, 2],
                [1_160, "flushed", 2, None],
                [1_170, "flushed", 7, 46],
            ],
        },
        {
            "what": "two resumes in a turn, with frames lost and sent again: the worst gap, all frames",
            "settings": {},
            "steps": [[1_000, "resumed", 1, 840, 12], [2_000, "resumed", 1, 300, 5], [3_000, "resumed", 2, 95, 0]],
        },
    ]


def traces() -> dict[str, list[Trace]]:
    """By part, with the outputs."""
    parts = {"sender": senders(), "redundancy": redundancies(), "recovery": recoveries(), "turns": turns()}
    return {part: [trace | {"outputs": PLAYERS[part](trace)} for trace in of_part] for part, of_part in parts.items()}


def text(of_part: list[Trace]) -> str:
    """The file of a part: a line for each step and for each output."""
    shown = []
    for trace in of_part:
        head = json.dumps({"what": trace["what"], "settings": trace["settings"]})[:-1]
        lists = (
            f'"{name}": [\n' + ",\n".join("  " + json.dumps(each) for each in trace[name]) + "\n ]"
            for name in ("steps", "outputs")
        )
        shown.append(f"{head},\n " + ",\n ".join(lists) + "}")
    return "[\n" + ",\n".join(shown) + "\n]\n"


if __name__ == "__main__":
    for part, of_part in traces().items():
        (FOLDER / f"{part}.json").write_text(text(of_part))
