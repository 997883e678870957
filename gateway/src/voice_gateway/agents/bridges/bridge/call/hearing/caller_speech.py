"""What the vendor reports of the caller's speech, and which of its audio is not needed again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from voice_gateway.agent.base import Emit, NoSpeechUpTo, PartialTranscript, UserStartedSpeaking, UserStoppedSpeaking
from voice_gateway.agents.bridges.bridge.call.hearing.awaited_words import AwaitedWords
from voice_gateway.agents.bridges.bridge.call.hearing.uplink_audio import UplinkAudio
from voice_gateway.agents.bridges.bridge.call.turns import BridgeTurns
from voice_gateway.agents.bridges.bridge.vendor import NOT_TRANSCRIBED, VendorEvent

_LOOKBACK_S: Final = 1.0
"""How late the vendor may report that speech began, after it has the audio."""


class CallerSpeech:
    """Keeps audio until its words are saved, or no speech can begin in it any more.

    The vendor may report speech `lookback_ms` before the audio that it has.
    """

    def __init__(
        self, emit: Emit, audio: UplinkAudio, awaited: AwaitedWords, turns: BridgeTurns, lookback_ms: int
    ) -> None:
        self.is_speaking = False
        self.received_ms = 0.0
        """How much of the caller's audio the session has for certain."""
        self._emit = emit
        self._audio = audio
        self._awaited = awaited
        self._turns = turns
        self._lookback_ms = lookback_ms
        self._has_partial = False
        """Whether words came that belong to no turn yet."""
        self._received: deque[tuple[float, float]] = deque()
        """When that became known, and how much it was, since `_LOOKBACK_S` ago."""

    @property
    def is_turn_open(self) -> bool:
        """Whether the caller speaks, or words of what was said are awaited."""
        return self.is_speaking or bool(self._awaited)

    @property
    def is_quiet(self) -> bool:
        """Whether all that was said had its words."""
        return not (self.is_turn_open or self._has_partial)

    def started(self, audio_ms: int | None) -> None:
        """The caller began to speak there."""
        self.is_speaking = True
        self._awaited.drop_speech()
        self._emit(UserStartedSpeaking(self._audio.first_at(audio_ms)))

    def stopped(self, audio_ms: int | None) -> None:
        """The caller's turn is over there; its words follow."""
        self.is_speaking = False
        self._awaited.turn_ended(audio_ms)
        self._emit(UserStoppedSpeaking(max(0, self._audio.last_at(audio_ms))))

    def partial(self, text: str) -> None:
        """The turn so far."""
        self._has_partial = True
        self._emit(PartialTranscript(text))

    def words(self, text: str, audio_ms: int | None) -> Iterable[VendorEvent]:
        """The oldest turn has its words: return what of an answer waited for them."""
        if self._awaited.are_late():
            self._has_partial = False
            return ()
        return self._words(text, audio_ms)

    def words_missed(self) -> Iterable[VendorEvent]:
        """The oldest turn goes on without its words: return what of an answer waited for them."""
        self._awaited.missed()
        return self._words(NOT_TRANSCRIBED, self._awaited.oldest_end)

    def stopped_unreported(self) -> bool:
        """The vendor hears no speech: return whether the caller was taken to speak."""
        was_speaking = self.is_speaking or self._has_partial
        self.is_speaking = self._has_partial = False
        return was_speaking

    def received(self, now: float, position_ms: float, *, may_speak: bool) -> None:
        """The vendor has this much of the audio: release that in which no speech can begin any more."""
        self._received.append((now, position_ms))
        while self._received[0][0] <= now - _LOOKBACK_S:
            settled_ms = self._received.popleft()[1]
            if self.is_quiet and not may_speak:
                self._release(self._audio.last_at(settled_ms - self._lookback_ms))

    def session_ready(self) -> None:
        """A new session has nothing of the audio yet."""
        self.received_ms = 0.0
        self._received.clear()

    def session_lost(self) -> None:
        """No words come any more of what the session was given."""
        self.is_speaking = self._has_partial = False
        self._awaited.forget()

    def _words(self, text: str, audio_ms: int | None) -> Iterable[VendorEvent]:
        self._has_partial = False
        if not self._awaited.came():
            self.is_speaking = False  # the vendor reports no end of speech
        through = self._audio.last_at(audio_ms)
        if text:
            self._turns.begin(text, through)
        elif not self.is_turn_open:
            self._release(through)
        return self._awaited.take_held()

    def _release(self, sequence: int) -> None:
        if sequence > self._audio.released:
            self._audio.release(sequence)
            self._emit(NoSpeechUpTo(sequence))
