"""What a session wants done. Carry effects out in the order in which they were returned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from voice_gateway.store.base import SessionRecord
from voicelink.wire import AudioFrame, CloseCode, Codec, ServerMessage, UplinkMode


@dataclass(frozen=True, slots=True)
class Send:
    """Send a control message to the caller."""

    message: ServerMessage


@dataclass(frozen=True, slots=True)
class Converse:
    """Open the agent's conversation and let it greet; replies will be spoken in `codec`."""

    codec: Codec


@dataclass(frozen=True, slots=True)
class TakeUp:
    """Speak in `codec` from now on; open the agent's conversation from `state` where there is none."""

    codec: Codec
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Greet:
    """Let the agent open the conversation, or after a gap take it up: some of what the caller said is lost."""

    is_after_gap: bool = False


@dataclass(frozen=True, slots=True)
class SayAgain:
    """Let the agent stop what it says, and say `text`."""

    text: str


@dataclass(frozen=True, slots=True)
class BeginUplink:
    """Take frames in this mode from now on; the next one is `next_sequence`. Comes right before `Ready` is sent."""

    mode: UplinkMode
    next_sequence: int


@dataclass(frozen=True, slots=True)
class Hear:
    """Decode the frame and give it to the agent."""

    frame: AudioFrame


@dataclass(frozen=True, slots=True)
class Press:
    """Tell the agent, if it cares, which key the caller pressed."""

    digit: str


@dataclass(frozen=True, slots=True)
class Due:
    """A frame, a key or the end that had to wait may reach the agent now."""

    effect: Hear | Press | Finish


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Tell the agent that its current reply was cut off after `played_ms` at the caller's ear."""

    played_ms: int


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

    The saved record is forgotten after `forget_after_s`, in which its caller may come back for a closing that was lost;
    it is left alone where another worker may go on with it.
    """

    code: CloseCode
    reason: str
    is_record_kept: bool = False
    forget_after_s: float = 0.0


Effect = (
    Send
    | Converse
    | TakeUp
    | Greet
    | SayAgain
    | BeginUplink
    | Hear
    | Press
    | Due
    | Interrupt
    | Finish
    | Speak
    | EndSpeech
    | ResetSpeech
    | Save
    | Close
)
