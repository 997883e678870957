"""What the agent says: utterances, how much of each was made, and how much of it the caller heard."""

from __future__ import annotations

import math
from dataclasses import dataclass

from voice_gateway.session.core.speech.agent_audio import AgentAudio

_MOST_OUTSTANDING = 64


@dataclass(frozen=True, slots=True)
class Cut:
    """An utterance that the caller did not hear to its end; `said` is the part of its text that was heard."""

    utterance_id: int
    said: str


class Replies:
    """Numbers the replies of one session from 1 and follows them until they were played or interrupted."""

    def __init__(self, audio: AgentAudio, utterance_id: int = 0) -> None:
        self.utterance_id = utterance_id
        """The newest utterance, 0 before the first reply."""
        self.speech_until = 0.0
        """When a loudspeaker that plays all that was made, as soon as it was made, falls silent."""
        self._samples_per_ms = audio.output_rate_hz / 1000
        self._sample_bytes = audio.sample_bytes
        self._speaking: _Reply | None = None
        self._outstanding: dict[int, _Reply] = {}

    @property
    def speaking(self) -> int | None:
        """The utterance_id that is being made, if any."""
        return self._speaking.utterance_id if self._speaking else None

    @property
    def has_outstanding(self) -> bool:
        """Whether an utterance was neither interrupted nor reported as played to its end."""
        return bool(self._outstanding)

    def begin(self, text: str, skipped_ms: int = 0) -> int:
        """Number a new reply, of which `skipped_ms` are not said again; first call `end` for one that is being made."""
        self.utterance_id += 1
        self._speaking = self._outstanding[self.utterance_id] = _Reply(
            self.utterance_id,
            text,
            skipped_ms,
            skip_bytes=int(skipped_ms * self._samples_per_ms) * self._sample_bytes,
        )
        if len(self._outstanding) > _MOST_OUTSTANDING:
            del self._outstanding[next(iter(self._outstanding))]
        return self.utterance_id

    def add(self, pcm: bytes, now: float) -> bytes:
        """Take audio of the reply that is being made, and return what of it is to be spoken."""
        reply = self._speaking
        if reply is None:
            return b""
        skipped = min(reply.skip_bytes, len(pcm))
        reply.skip_bytes -= skipped
        duration_ms = (len(pcm) - skipped) / self._sample_bytes / self._samples_per_ms
        reply.made_ms += duration_ms
        self.speech_until = max(self.speech_until, now) + duration_ms / 1000
        return pcm[skipped:] if skipped else pcm

    def end(self) -> int | None:
        """All audio was made; return the utterance, or `None` if none is being made."""
        reply, self._speaking = self._speaking, None
        if reply is None:
            return None
        reply.is_ended = True
        return reply.utterance_id

    def played(self, utterance_id: int, position_ms: int, is_complete: bool) -> None:
        """Take the caller's report; one about an utterance that is over, or was never begun, is ignored.

        A position counts from the first sample sent of the utterance, and is at most what was made of it.
        """
        reply = self._outstanding.get(utterance_id)
        if reply is None:
            return
        reply.played_ms = max(reply.played_ms, min(position_ms, math.ceil(reply.made_ms)))
        if is_complete and reply.is_ended:
            del self._outstanding[utterance_id]

    def abandon(self) -> None:
        """The connection is gone, and with it what was not played: it will be said again as a new reply, or not."""
        self._outstanding.clear()
        self._speaking = None
        self.speech_until = 0.0

    def interrupt(self, now: float) -> tuple[int, tuple[Cut, ...]] | None:
        """The caller spoke: return how much of the newest reply was played in ms, and all that were cut off.

        `None` means that nothing was being said.
        """
        if not self._outstanding:
            return None
        replies = tuple(self._outstanding.values())
        self._outstanding.clear()
        self._speaking = None
        self.speech_until = now
        return replies[-1].played_ms, tuple(Cut(reply.utterance_id, reply.said()) for reply in replies)


@dataclass(slots=True)
class _Reply:
    utterance_id: int
    text: str
    skipped_ms: int = 0
    skip_bytes: int = 0
    made_ms: float = 0.0
    played_ms: int = 0
    is_ended: bool = False

    def said(self) -> str:
        """The words that fit into the part that was played, taking all words to be equally long."""
        words = self.text.split()
        made_ms = self.skipped_ms + self.made_ms
        share = min(1.0, (self.skipped_ms + self.played_ms) / made_ms) if made_ms else 0.0
        return " ".join(words[: round(len(words) * share)])
