"""One utterance of the agent on its way to the caller, and what became of it. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass, field

from voice_gateway.session.core.speech.pending_audio import PendingAudio


@dataclass(frozen=True, slots=True)
class Cut:
    """An utterance that was interrupted; `said` is the part of its text that was played, in `played_ms`."""

    utterance_id: int
    said: str
    played_ms: int
    is_held: bool = False
    """Whether its connection was lost before, and nothing of it is on its way."""


@dataclass(frozen=True, slots=True)
class WholePlayback:
    """An utterance that was played to its end, in `played_ms`."""

    text: str
    played_ms: int


@dataclass(slots=True, eq=False)
class Utterance:
    """How much was made, sent and played; `is_complete` once the caller has played all of it.

    Its first `skipped_ms` were said by an earlier utterance: `skip_bytes` of what is made are those.
    """

    utterance_id: int
    text: str
    skipped_ms: int
    skip_bytes: int
    made_bytes: int = 0
    sent_bytes: int = 0
    played_ms: int = 0
    is_ended: bool = False
    is_complete: bool = False
    kept: PendingAudio = field(default_factory=PendingAudio)
    """What was made of it from `kept_from` on, in bytes."""
    kept_from: int = 0

    @property
    def is_sent(self) -> bool:
        """Whether it was made to its end, and all of it was given to the transport."""
        return self.is_ended and self.sent_bytes >= self.made_bytes

    def make(self, pcm: bytes) -> bytes:
        """Take more audio, and return what of it is not skipped."""
        skipped = min(self.skip_bytes, len(pcm))
        self.skip_bytes -= skipped
        spoken = pcm[skipped:] if skipped else pcm
        self.made_bytes += len(spoken)
        self.kept.append(spoken)
        return spoken

    def keep_from(self, position: int) -> None:
        """Forget the audio before this position, which the caller has played."""
        self.kept_from += len(self.kept.take(max(0, position - self.kept_from)))

    def said(self, made_ms: float) -> str:
        """Return the words that fit into the part that was played, taking all words to be equally long."""
        words = self.text.split()
        whole_ms = self.skipped_ms + made_ms
        share = min(1.0, (self.skipped_ms + self.played_ms) / whole_ms) if whole_ms else 0.0
        return " ".join(words[: round(len(words) * share)])
