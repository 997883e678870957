"""What LiveKit notices of the user's speech, as events of the session."""

from __future__ import annotations

from collections.abc import Callable

from livekit.agents.voice.events import UserInputTranscribedEvent, UserStateChangedEvent

from voice_gateway.agent.base import (
    Emit,
    NoSpeechUpTo,
    PartialTranscript,
    StopReply,
    UserStartedSpeaking,
    UserStoppedSpeaking,
)
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.livekit.call.uplink import Uplink


class UserSpeech:
    """While the agent speaks (`is_agent_saying`), LiveKit decides itself whether the user interrupts it."""

    def __init__(self, emit: Emit, changes: Changes, is_agent_saying: Callable[[], bool]) -> None:
        self._emit = emit
        self._changes = changes
        self._is_agent_saying = is_agent_saying
        self._uplink = Uplink()
        self._onset = -1
        self._is_announced = False

    @property
    def is_understood(self) -> bool:
        """Whether no speech is under way, and no words of it are to come."""
        return not (self._uplink.is_speaking or self._uplink.has_transcripts or self._uplink.is_waiting)

    def read(self, sequence: int, duration_ms: float) -> None:
        """LiveKit read a frame."""
        silent = self._uplink.read(sequence, duration_ms)
        if silent is not None:
            self._emit(NoSpeechUpTo(silent))

    def state_changed(self, event: UserStateChangedEvent) -> None:
        """The user began or stopped to speak."""
        if event.new_state == "speaking":
            self._onset = self._uplink.started()
            self._is_announced = False
            if not self._is_agent_saying():
                self._announce()
        elif self._uplink.is_speaking:
            sequence = self._uplink.stopped()
            if self._is_announced:
                self._emit(UserStoppedSpeaking(sequence))
        self._changes.notify()

    def transcribed(self, event: UserInputTranscribedEvent) -> None:
        """Words came."""
        if event.is_final:
            self._uplink.transcribed(event.transcript)
        else:
            self._emit(PartialTranscript(event.transcript))
        self._changes.notify()

    def committed(self, text: str) -> int:
        """LiveKit took `text` as the user's turn: return the last frame of it."""
        return self._uplink.committed(text)

    def reply_cut(self) -> None:
        """LiveKit cut its speech off: because of the user's voice, or for a reason of its own."""
        if self._uplink.is_speaking and not self._is_announced:
            self._announce()
        else:
            self._emit(StopReply())

    def _announce(self) -> None:
        if not self._is_announced:
            self._is_announced = True
            self._emit(UserStartedSpeaking(self._onset))
