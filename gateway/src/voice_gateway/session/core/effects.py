"""The effects of a session: what its driver must do, in the order in which they were returned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from voice_gateway.agent.base import ClientToolResult, PlaybackFinished
from voice_gateway.store.base import SessionRecord
from voicelink.wire import AudioFrame, CloseCode, Codec, NumberedClientMessage, ServerMessage, UplinkMode


@dataclass(frozen=True, slots=True)
class Send:
    message: ServerMessage


@dataclass(frozen=True, slots=True)
class StartConversation:
    """Open the agent's conversation and let it greet; encode its answers in `codec`."""

    codec: Codec


@dataclass(frozen=True, slots=True)
class ResumeConversation:
    """Encode answers in `codec` from now on; open the agent's conversation from `state` where there is none."""

    codec: Codec
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Greet:
    """Let the agent greet, or after a gap greet again: some of what the caller said is lost."""

    is_after_gap: bool = False


@dataclass(frozen=True, slots=True)
class SayAgain:
    """Let the agent stop its answer, and say `text`."""

    text: str


@dataclass(frozen=True, slots=True)
class InjectText:
    """Give the agent what an operator typed in the caller's place."""

    text: str


@dataclass(frozen=True, slots=True)
class BeginUplink:
    """Take frames in this mode from now on; the next one is `next_sequence`. Comes right before `Ready` is sent."""

    mode: UplinkMode
    next_sequence: int


class Decode(msgspec.Struct, frozen=True, gc=False):
    """Decode the frame and give it to the agent."""

    frame: AudioFrame


@dataclass(frozen=True, slots=True)
class PressKey:
    """Tell the agent which key of the telephone the caller pressed."""

    digit: str


@dataclass(frozen=True, slots=True)
class TakeMessage:
    """Give the agent what the caller typed, a message of the application, or what a tool returned."""

    message: NumberedClientMessage


@dataclass(frozen=True, slots=True)
class ReportToolResult:
    """Tell the agent that the client cannot run its tool."""

    result: ClientToolResult


@dataclass(frozen=True, slots=True)
class Deliver:
    """Carry out an effect for the agent that has waited in the backlog."""

    effect: Decode | PressKey | TakeMessage | Finish


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Tell the agent that its current reply, `utterance_id`, was cut off after `played_ms` of playback.

    It counts for that reply alone: an agent that stops its reply itself may have begun the next one by then.
    """

    played_ms: int
    utterance_id: int


@dataclass(frozen=True, slots=True)
class ReportPlayed:
    """Tell the agent how much was played of the oldest reply that is not finished."""

    played_ms: int


@dataclass(frozen=True, slots=True)
class ReportPlayback:
    """Tell the agent that a reply was played, or was cut off."""

    playback: PlaybackFinished


@dataclass(frozen=True, slots=True)
class ReportSaved:
    """Tell the agent that its state up to this checkpoint is saved."""

    checkpoint: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Tell the agent that no more audio follows."""


@dataclass(frozen=True, slots=True)
class Speak:
    """Encode PCM16 of the agent's output rate and send it as part of `utterance_id`."""

    utterance_id: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class EndSpeech:
    """All of `utterance_id` was given; send what the encoder still holds and end its stream."""

    utterance_id: int


@dataclass(frozen=True, slots=True)
class ResetSpeech:
    """Abandon what of `utterance_id` has not been encoded or delivered."""

    utterance_id: int


@dataclass(frozen=True, slots=True)
class Save:
    """Save the record, then call `Session.saved` or `Session.save_failed`. At most one save is under way."""

    record: SessionRecord


@dataclass(frozen=True, slots=True)
class Close:
    """Close the transport and the conversation. The last effect of a session.

    The saved record is deleted after `forget_after_s`, in which its caller may come back for a closing that was lost;
    where `is_record_kept` it is not deleted, as another worker may go on with it.
    """

    code: CloseCode
    reason: str
    is_record_kept: bool = False
    forget_after_s: float = 0.0


Effect = (
    Send
    | StartConversation
    | ResumeConversation
    | Greet
    | SayAgain
    | InjectText
    | BeginUplink
    | Decode
    | PressKey
    | TakeMessage
    | ReportToolResult
    | Deliver
    | Interrupt
    | ReportPlayed
    | ReportPlayback
    | ReportSaved
    | Finish
    | Speak
    | EndSpeech
    | ResetSpeech
    | Save
    | Close
)
