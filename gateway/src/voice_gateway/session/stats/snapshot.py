"""What an operator may see of a session: figures and addresses, never words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from voice_gateway.session.stats.turn_latency import TurnLatency
from voice_gateway.session.stats.uplink_statistics import UplinkSummary
from voicelink.wire import CloseCode


@dataclass(frozen=True, slots=True)
class Migration:
    """The caller's address became `peer`, `at_s` after the session began; no frame came for `gap_ms` around it."""

    at_s: float
    peer: str
    gap_ms: float


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """A session at one moment; `close_code` and `close_reason` are `None` while it goes on.

    `connection` is the QUIC connection ID that names its newest connection in the log; `None` over TCP.
    `datagrams` with the caller's audio came over its newest connection. `downlink_lead_s` is the speech that was sent
    and not reported as played.
    """

    id: str
    worker: str
    transport: str
    path: str
    peer: str
    connection: str | None
    state: str
    age_s: float
    turn: int
    revision: int
    utterance_id: int
    acked_sequence: int | None
    datagrams: int
    uplink: UplinkSummary
    migrations: tuple[Migration, ...]
    turns: tuple[TurnLatency, ...]
    downlink_lead_s: float
    close_code: CloseCode | None
    close_reason: str | None

    def as_json(self) -> dict[str, Any]:
        """Return it as the plain maps and lists of the admin interface's `/sessions`."""
        document = asdict(self)
        # the names that these had before: programs that read this page may still ask for them
        document |= {"generation": self.utterance_id, "heard_sequence": self.acked_sequence}
        document["close_code"] = None if self.close_code is None else self.close_code.name.lower()
        document["turns"] = [latency.as_json() for latency in self.turns]
        document["uplink"]["largest_gaps"] = [
            {"sequence": sequence, "gap_ms": gap_ms} for sequence, gap_ms in self.uplink.largest_gaps
        ]
        return document
