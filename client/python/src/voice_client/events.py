"""What happens in a call, in the order in which it happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from voice_client.call.turns import TurnLatency
from voice_client.deprecation import Renamed
from voice_client.errors import ClientError


@dataclass(frozen=True, slots=True)
class Connected:
    """The session exists, at this worker."""

    session: str
    worker: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in a turn; the caller's is replaced by the next of that turn, while it is not final.

    An agent may say several things in a turn: `utterance_id` tells them apart, and a later text of the same one
    replaces it. One that is said again after a resume `replaces` those of former utterances.
    """

    turn: int
    role: Literal["user", "agent"]
    text: str
    is_final: bool
    utterance_id: int | None = None
    replaces: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The agent's state after `revision` changes, whole."""

    revision: int
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Speech:
    """The agent begins to answer `turn` (0 is its greeting); `utterance_id` (`generation` on the wire) numbers it."""

    utterance_id: int
    turn: int

    generation = Renamed[int]("utterance_id")


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """All of an utterance has been played."""

    utterance_id: int
    played_ms: int

    generation = Renamed[int]("utterance_id")


@dataclass(frozen=True, slots=True)
class Flushed:
    """The caller interrupted the agent: the rest of this utterance is dropped after `played_ms`."""

    utterance_id: int
    played_ms: int

    generation = Renamed[int]("utterance_id")


@dataclass(frozen=True, slots=True)
class TurnMeasured:
    """Something new is known of where the time of a turn went; each event of a turn holds all that is known."""

    latency: TurnLatency


@dataclass(frozen=True, slots=True)
class Acked:
    """The server's application-level ACK (`heard` on the wire): the effect of all frames up to `sequence` is saved."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Migration:
    """The call moved from one local address to another, `at_s` seconds after it began.

    `validated_ms` is the time from the switch to the server's answer on the new path (RFC 9000 section 8.2).
    `gap_ms` is the longest time during which something sent waited for acknowledgement and nothing new was
    acknowledged. It looks from the switch to the first acknowledgement after the validation; an interval that was
    running at the switch counts from its beginning. Without any switch a caller who speaks sees 20 to 45 ms: the
    frame interval and the peer's ACK delay.
    """

    at_s: float
    old: str
    new: str
    validated_ms: float
    gap_ms: float


@dataclass(frozen=True, slots=True)
class PathChanged:
    """The call goes on over a new path."""

    migration: Migration


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The connection is lost or silent; the call is being taken up over another one. Speak on: nothing is lost."""

    reason: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The call goes on, at `worker`, `at_s` seconds after it began.

    `gap_ms` is from the last sign that what the caller sends arrives until the server was ready again.
    `has_reconnected` is false where the old connection came back to life first.
    """

    at_s: float
    worker: str
    gap_ms: float
    has_reconnected: bool


@dataclass(frozen=True, slots=True)
class Draining:
    """The worker is going away within `deadline_s`; the call moves to another one by itself."""

    deadline_s: float


@dataclass(frozen=True, slots=True)
class AppMessage:
    """The agent sent this to the application; each comes once."""

    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """A tool of the application begins to run."""

    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Transferred:
    """The agent hands the caller on to `target`, which the application understands; `Closed` follows."""

    target: str


@dataclass(frozen=True, slots=True)
class SinkFailed:
    """A sink raised, was closed, and gets no more of what is played; the call goes on."""

    sink: object
    error: Exception


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event. `error` is `None` after the server's bye."""

    error: ClientError | None


Heard = Acked
"""Deprecated: use `Acked`."""

Event = (
    Connected
    | Transcript
    | StateChanged
    | Speech
    | SpeechEnded
    | Flushed
    | TurnMeasured
    | Acked
    | PathChanged
    | Interrupted
    | Resumed
    | Draining
    | AppMessage
    | ToolCalled
    | Transferred
    | SinkFailed
    | Closed
)
