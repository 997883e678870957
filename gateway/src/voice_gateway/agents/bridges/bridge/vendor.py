"""The interface that a vendor's part implements, and the events it returns. Sans-IO.

A bridge to another vendor is a `Vendor` and its `VendorSession`; `BridgeAgent` does the rest. Audio is in the agent's
format at its rates. Positions of the caller's audio (`audio_ms`) count from the first `hear` of the session.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import msgspec

from voice_gateway.agent.base import AudioFormat
from voicelink.audio.codecs.pcmu import PCMU_RATE_HZ

Message = str | bytes
"""One WebSocket message: text or binary."""
NOT_TRANSCRIBED: Final = "(not transcribed)"
"""Stands for the words of a turn for which the vendor has none."""


def json_message(fields: Mapping[str, Any]) -> str:
    """Return a message to the vendor, in JSON."""
    return msgspec.json.encode(fields).decode()


@dataclass(frozen=True, slots=True)
class Said:
    """A line of the history: what the caller said, or what of the agent's answer was played."""

    is_caller: bool
    text: str


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, with the headers that hold the key."""

    url: str
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ready:
    """The session takes audio from now on; it ends by itself after `lasts_s`, `None` where the vendor sets no end."""

    lasts_s: float | None = None


@dataclass(frozen=True, slots=True)
class ToVendor:
    """Send this: an answer that the protocol demands, such as a pong."""

    message: Message


@dataclass(frozen=True, slots=True)
class CallerStarted:
    """The caller began to speak at `audio_ms`, now where it is `None`: what is being said is cut off."""

    audio_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CallerStopped:
    """The caller's turn is over at `audio_ms`. `Words` of it follow, before which no answer goes to the caller.

    Leave it out where a vendor does not report it.
    """

    audio_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PartialWords:
    """The caller's turn so far. Its audio is kept until its `Words`, also where no `CallerStarted` was reported."""

    text: str


@dataclass(frozen=True, slots=True)
class Words:
    """The words of the oldest turn that has none; empty for noise.

    The turn used the caller's audio up to `audio_ms`; `None` is all that the vendor has received.
    """

    text: str
    audio_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Answering:
    """The vendor makes an answer; `Answered` follows."""


@dataclass(frozen=True, slots=True)
class ItemText:
    """The text of this item of an answer so far; the next one replaces it."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ItemAudio:
    """More audio of an item. `is_verbatim` for what `VendorSession.say` asked for."""

    item_id: str
    audio: bytes
    is_verbatim: bool = False


@dataclass(frozen=True, slots=True)
class ItemEnded:
    """All audio and text of the item was returned, or the vendor stopped making it."""

    item_id: str


@dataclass(frozen=True, slots=True)
class ToolRequested:
    """The vendor's model calls a tool; `arguments` is JSON. Answered by `VendorSession.tool_returned`, in any order."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer is whole, tools included: nothing follows until the caller speaks.

    `is_verbatim` for the end of what `VendorSession.say` asked for; `is_cut` where the vendor cancelled the answer.
    """

    is_verbatim: bool = False
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """The vendor ends the session within this time: it is crossed by a new one at the next quiet moment before."""

    within_s: float


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The session cannot go on, a new one can: the history is replayed there. `reason` is for the log."""

    reason: str


@dataclass(frozen=True, slots=True)
class VendorFailed:
    """No new session would help; the caller hears an apology. `reason` is one sentence without the caller's words."""

    reason: str


VendorEvent = (
    Ready
    | ToVendor
    | CallerStarted
    | CallerStopped
    | PartialWords
    | Words
    | Answering
    | ItemText
    | ItemAudio
    | ItemEnded
    | ToolRequested
    | Answered
    | Ending
    | SessionLost
    | VendorFailed
)


class LocateError(Exception):
    """`Vendor.locate` was answered with this HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class VendorSession(ABC):
    """One session at the vendor, made for each WebSocket. All methods but `receive` return messages to send."""

    def follows(self, previous: VendorSession) -> None:
        """Called before `opened`, where another session of the call was here and has ended. Default: nothing."""
        del previous

    @abstractmethod
    def opened(self, history: Sequence[Said]) -> list[Message]:
        """The WebSocket is open: configure the session, and replay what was said before. Nothing is answered yet."""

    @abstractmethod
    def receive(self, message: Message) -> list[VendorEvent]:
        """Take a message; types that are not known are skipped.

        Raises for a malformed one, usually `msgspec.DecodeError` or `ValueError`: `MalformedMessages` takes that.
        """

    @abstractmethod
    def hear(self, audio: bytes) -> list[Message]:
        """Take the caller's audio, in order; only after `Ready`."""

    @abstractmethod
    def answer(self) -> list[Message]:
        """Answer the caller's last words of the history, or go on with an answer that was cut off."""

    def say(self, text: str, *, is_in_history: bool) -> list[Message] | None:
        """Say exactly `text`, which the vendor's history has already or gets by this. Default: `None`, it cannot."""
        del text, is_in_history
        return None

    @abstractmethod
    def read(self, text: str) -> list[Message]:
        """Take a turn that the caller typed, and answer; of 1 to 4,000 characters."""

    def press(self, digit: str) -> list[Message]:
        """Take a key of the telephone, and answer. Default: as if it were typed."""
        return self.read(digit)

    def cut_off(self, item_id: str, played_ms: int) -> list[Message]:
        """The item was cut off after `played_ms`, at most what was made of it. Default: the vendor need not know."""
        del item_id, played_ms
        return []

    def cancel(self) -> list[Message]:
        """Stop making the answer, because of us and not of the caller's voice. Default: its rest is dropped here."""
        return []

    def keep_alive(self) -> list[Message]:
        """Called each second. Default: WebSocket pings are enough."""
        return []

    def hears_speech(self) -> bool | None:
        """Whether the caller may be speaking without `CallerStarted` yet: the audio is then kept.

        False also ends a `CallerStarted` that no words followed. Default: `None`, the events say all.
        """
        return None

    @abstractmethod
    def tool_returned(self, call_id: str, output: str) -> list[Message]:
        """The tool's result as JSON; the vendor goes on with the answer. `output` has `error` where the tool failed."""


class Vendor(ABC):
    """A vendor as the settings configure it; opens sessions. Made once per worker."""

    name: ClassVar[str]
    """As users know it: begins the sentences of errors."""
    key_variable: ClassVar[str]
    """The environment variable that holds the key, unless a file does."""
    audio_format: AudioFormat = AudioFormat.PCM16
    input_rate_hz: int = 24_000
    output_rate_hz: int = 24_000
    lookback_ms: int = 1_500
    """Speech, or the first words of a turn, may be reported to have begun so long before what the vendor has."""

    def speak_in(self, audio: Literal["pcm", "pcmu"], input_rate_hz: int, output_rate_hz: int) -> None:
        """Declare mu-law at 8 kHz both ways for `pcmu`, as telephones have it; else PCM16 at these rates."""
        is_pcmu = audio == "pcmu"
        self.audio_format = AudioFormat.PCMU if is_pcmu else AudioFormat.PCM16
        self.input_rate_hz = PCMU_RATE_HZ if is_pcmu else input_rate_hz
        self.output_rate_hz = PCMU_RATE_HZ if is_pcmu else output_rate_hz

    @abstractmethod
    def target(self, key: str) -> Target:
        """Return the address of a new session."""

    async def locate(self, target: Target) -> Target:
        """Return where to open one WebSocket, given `target`; raises `LocateError` or `OSError`. Default: there."""
        return target

    @abstractmethod
    def session(self, tools: Sequence[Mapping[str, Any]]) -> VendorSession:
        """Return a new session; `tools` are as `tool_schema` returns them."""
