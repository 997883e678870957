"""What a call was, in figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from voice_client.call.turns import TurnLatency
from voice_client.deprecation import Renamed
from voice_client.events import Migration, Resumed, Transcript


@dataclass(frozen=True, slots=True)
class CallReport:
    """The result of a call; `as_json` is the document that `voice-client call --json` prints.

    `is_complete`: all frames were acked and the server said bye. `reply_latencies_ms`: from the last frame louder
    than -45 dBFS to the first audio of the answer to it. `longest_downlink_gap_ms`: the longest silence within an
    answer because its audio came too late, `None` where nothing was played. `turns` holds where the time of each went.
    `uplink` is the mode the server agreed to.
    """

    is_complete: bool
    error: str | None
    session: str | None
    worker: str | None
    transcript: tuple[Transcript, ...]
    state: Mapping[str, Any]
    frames_sent: int
    frames_acked: int
    uplink: str | None
    frames_given_up: int
    migrations: tuple[Migration, ...]
    resumes: tuple[Resumed, ...]
    rtts_ms: tuple[float, ...]
    longest_downlink_gap_ms: int | None
    reply_latencies_ms: tuple[float, ...]
    turns: tuple[TurnLatency, ...]
    played_ms: int
    duration_s: float

    frames_heard = Renamed[int]("frames_acked")

    def as_json(self) -> dict[str, Any]:
        """Plain maps, lists, strings and numbers; times rounded to a tenth of their unit."""
        return {
            "ok": self.is_complete and self.error is None,
            "error": self.error,
            "session": self.session,
            "worker": self.worker,
            "transcript": [
                {"turn": line.turn, "role": line.role, "text": line.text} for line in self.transcript if line.is_final
            ],
            "state": dict(self.state),
            "frames_sent": self.frames_sent,
            "frames_acked": self.frames_acked,
            "frames_heard": self.frames_acked,  # its former name
            "uplink": self.uplink,
            "frames_given_up": self.frames_given_up,
            "migrations": [
                {
                    "at_s": round(migration.at_s, 3),
                    "from": migration.old,
                    "to": migration.new,
                    "validated_ms": round(migration.validated_ms, 1),
                    "gap_ms": round(migration.gap_ms, 1),
                }
                for migration in self.migrations
            ],
            "resumes": [
                {"at_s": round(resumed.at_s, 3), "worker": resumed.worker, "gap_ms": round(resumed.gap_ms, 1)}
                for resumed in self.resumes
            ],
            "rtt_ms": {"n": len(self.rtts_ms), "p50": quantile(self.rtts_ms, 0.5), "p99": quantile(self.rtts_ms, 0.99)},
            "longest_downlink_gap_ms": self.longest_downlink_gap_ms,
            "reply_latencies_ms": [round(latency, 1) for latency in self.reply_latencies_ms],
            "turns": [asdict(latency) for latency in self.turns],
            "played_ms": self.played_ms,
            "duration_s": round(self.duration_s, 1),
        }


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that `share` of all do not exceed (nearest rank), rounded to 0.1; `None` without values."""
    if not values:
        return None
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * share // 1))
    return round(ordered[int(rank) - 1], 1)


def failure(error: Exception) -> CallReport:
    """The report of a call that never began."""
    return CallReport(
        is_complete=False,
        error=str(error),
        session=None,
        worker=None,
        transcript=(),
        state={},
        frames_sent=0,
        frames_acked=0,
        uplink=None,
        frames_given_up=0,
        migrations=(),
        resumes=(),
        rtts_ms=(),
        longest_downlink_gap_ms=None,
        reply_latencies_ms=(),
        turns=(),
        played_ms=0,
        duration_s=0.0,
    )
