"""What the agent says: each utterance's text, and how much of it was made, sent and played. Sans-IO."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from voice_gateway.session.core.speech.agent_audio import AgentAudio
from voice_gateway.session.core.speech.pending_audio import PendingAudio

_MOST_OUTSTANDING = 64
_MOST_KEPT_S = 60
"""Audio sent and not reported as played that is kept for a resume."""


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


@dataclass(frozen=True, slots=True)
class Continuation:
    """What was held of the utterance `former_id` while no caller was there, now the utterance `utterance_id`.

    `pcm` is what was made of it from `skipped_ms` on; unless it `is_ended`, the rest is being made.
    """

    former_id: int
    utterance_id: int
    text: str
    skipped_ms: int
    is_begun: bool
    pcm: bytes
    is_ended: bool


class Utterances:
    """Numbers the utterances of one session from 1, and owns how much of each was made, sent and played.

    Played is at most sent. What was said of an utterance (`interrupt`) and how much may be sent now (`Pacer`) both
    follow from these positions. Sent and played belong to a connection: call `hold` when it is lost, and `recovered`,
    `held_ids`, and `go_on` or `let_go` when the caller is back.
    """

    def __init__(self, audio: AgentAudio, utterance_id: int = 0) -> None:
        self.utterance_id = utterance_id
        """The newest utterance, 0 before the first one."""
        self.speech_until = 0.0
        """When a loudspeaker that plays all that was made, as soon as it was made, falls silent."""
        self._sample_bytes = audio.sample_bytes
        self._samples_per_ms = audio.output_rate_hz / 1000
        self._bytes_per_ms = self._samples_per_ms * self._sample_bytes
        self._utterances: dict[int, _Utterance] = {}
        self._held: list[_Utterance] = []
        """What was not played when the connection was lost, or was begun since."""
        self._speaking: _Utterance | None = None
        self._playing_id = 0
        """The newest utterance that the caller has reported. It plays in order: those before it are over."""
        self._dropped_id = 0
        """The newest utterance of those that were interrupted or held."""
        self._evicted_ms = 0.0
        """Sent of utterances beyond the most that are kept, and not reported since."""
        self._buffered_ms = 0.0
        self._estimated_at: float | None = None

    @property
    def speaking(self) -> int | None:
        """The ID of the utterance that is being made, if any."""
        return self._speaking.utterance_id if self._speaking else None

    @property
    def has_outstanding(self) -> bool:
        """Whether an utterance was neither interrupted nor reported as played to its end."""
        return any(not utterance.is_complete for utterance in self._utterances.values())

    @property
    def lead_s(self) -> float:
        """How much was sent and not reported as played."""
        unplayed = (self._unplayed_ms(each) for each in self._utterances.values())
        return (sum(unplayed) + self._evicted_ms) / 1000

    @property
    def is_playing(self) -> bool:
        """Whether the caller had something left to play at its last report."""
        return self._estimated_at is not None

    def buffered_s(self, now: float) -> float:
        """Estimate what the caller has left to play, taking it to play on since its last report."""
        self._play_on(now)
        return self._buffered_ms / 1000

    def begin(self, text: str, skipped_ms: int = 0) -> int:
        """Number a new utterance, of which `skipped_ms` are not said again; first call `end` for one being made."""
        self.utterance_id += 1
        skip_bytes = self._byte_at(skipped_ms)
        self._speaking = _Utterance(self.utterance_id, text, skipped_ms, skip_bytes)
        self._utterances[self.utterance_id] = self._speaking
        if len(self._utterances) > _MOST_OUTSTANDING:
            self._evicted_ms += self._unplayed_ms(self._utterances.pop(next(iter(self._utterances))))
        return self.utterance_id

    def add(self, pcm: bytes, now: float) -> bytes:
        """Take audio of the utterance that is being made, and return what of it is to be spoken now."""
        utterance = self._speaking
        if utterance is None:
            return b""
        skipped = min(utterance.skip_bytes, len(pcm))
        utterance.skip_bytes -= skipped
        spoken = pcm[skipped:] if skipped else pcm
        utterance.made_bytes += len(spoken)
        utterance.kept.append(spoken)
        if self._is_held(utterance):
            return b""
        self._will_speak(len(spoken), now)
        return spoken

    def reword(self, text: str) -> int:
        """The newest utterance has this text, also where its connection was lost; return its ID."""
        if self._speaking is not None:
            self._speaking.text = text
        return self.utterance_id

    def end(self) -> int | None:
        """All audio was made; return the utterance's ID, or `None` if none is being made, or the caller is away."""
        utterance, self._speaking = self._speaking, None
        if utterance is None:
            return None
        utterance.is_ended = True
        return None if self._is_held(utterance) else utterance.utterance_id

    def sent(self, utterance_id: int, byte_count: int, now: float) -> None:
        """So much of the utterance's audio was given to the transport; one that was interrupted does not count."""
        utterance = self._utterances.get(utterance_id)
        if utterance is None and utterance_id <= self._dropped_id:
            return
        self._play_on(now)
        duration_ms = byte_count / self._bytes_per_ms
        self._buffered_ms += duration_ms
        if utterance is None:
            self._evicted_ms += duration_ms
        else:
            utterance.sent_bytes += byte_count
            self._limit_kept()

    def played(self, utterance_id: int, position_ms: int, is_complete: bool, now: float) -> WholePlayback | None:
        """Take the caller's report, and return the utterance if it has now been played to its end.

        A report about an utterance that is over, or was never begun, is ignored. A position counts from the first
        sample sent of the utterance, and is at most what was sent of it.
        """
        utterance = self._utterances.get(utterance_id)
        if utterance is None:
            return None
        was_complete = utterance.is_complete
        sent_ms = math.ceil(utterance.sent_bytes / self._bytes_per_ms)
        utterance.played_ms = sent_ms if is_complete else max(utterance.played_ms, min(position_ms, sent_ms))
        utterance.is_complete |= is_complete and utterance.is_ended
        utterance.keep_from(self._byte_at(utterance.played_ms))
        if utterance.sent_bytes and utterance_id >= self._playing_id:
            self._playing_id = utterance_id
            self._restart_estimate(now)
        self._utterances = {
            key: each for key, each in self._utterances.items() if key >= self._playing_id or not each.is_complete
        }
        if was_complete or not utterance.is_complete:
            return None
        return WholePlayback(utterance.text, utterance.skipped_ms + utterance.played_ms)

    def oldest_played_ms(self, utterance_id: int) -> int | None:
        """Return how much of the utterance was played, if it is the oldest one that was not played to its end."""
        oldest = next((each for each in self._utterances.values() if not each.is_complete), None)
        if oldest is None or oldest.utterance_id != utterance_id:
            return None
        return oldest.skipped_ms + oldest.played_ms

    def hold(self) -> None:
        """The connection is gone: keep what was not played, and what is being made, for when the caller is back."""
        self._held += (each for each in self._utterances.values() if not each.is_complete)
        self._utterances.clear()
        self._dropped_id = self.utterance_id
        self.speech_until = 0.0
        self._evicted_ms = self._buffered_ms = 0.0
        self._estimated_at = None

    @property
    def held_ids(self) -> frozenset[int]:
        """The utterances that `go_on` would go on with."""
        return frozenset(each.utterance_id for each in self._held)

    def recovered(self, next_utterance_id: int) -> tuple[WholePlayback, ...]:
        """Return what was held of those that the caller had played: all before `next_utterance_id`; once."""
        played = [each for each in self._held if each.is_sent and each.utterance_id < next_utterance_id]
        self._held = [each for each in self._held if each not in played]
        return tuple(
            WholePlayback(each.text, round(each.skipped_ms + each.made_bytes / self._bytes_per_ms)) for each in played
        )

    def go_on(self, next_utterance_id: int, position_ms: int, now: float) -> Sequence[Continuation]:
        """Go on with what is held, as new utterances, from `position_ms` of `next_utterance_id`.

        Of one before it that was not sent whole, the caller has played all that was sent.
        """
        held, self._held = self._held, []
        return [self._continue(each, next_utterance_id, position_ms, now) for each in held]

    def let_go(self) -> None:
        """Forget what is held: it is said again as a new utterance, or not at all."""
        if self._speaking is not None and self._is_held(self._speaking):
            self._speaking = None
        self._held = []

    def _continue(self, former: _Utterance, next_utterance_id: int, position_ms: int, now: float) -> Continuation:
        begin = former.kept_from
        if former.utterance_id == next_utterance_id:
            begin = self._byte_at(position_ms)
        elif former.utterance_id < next_utterance_id:
            begin = former.sent_bytes
        former.keep_from(begin)
        pcm = former.kept.take(len(former.kept))
        skipped_ms = former.skipped_ms + round(former.kept_from / self._bytes_per_ms)
        self.utterance_id += 1
        utterance = _Utterance(self.utterance_id, former.text, skipped_ms, former.skip_bytes, len(pcm))
        utterance.kept.append(pcm)
        utterance.is_ended = former.is_ended
        self._utterances[self.utterance_id] = utterance
        if self._speaking is former:
            self._speaking = utterance
        self._will_speak(len(pcm), now)
        is_begun = former.utterance_id <= next_utterance_id or former.skipped_ms > 0
        return Continuation(
            former.utterance_id, self.utterance_id, former.text, skipped_ms, is_begun, pcm, former.is_ended
        )

    def interrupt(self, now: float) -> tuple[int, tuple[Cut, ...]] | None:
        """The caller spoke: return how much of the newest utterance was played in ms, and all that were cut off.

        `None` means that nothing was being said.
        """
        held = {each.utterance_id for each in self._held}
        outstanding = [*self._held, *(each for each in self._utterances.values() if not each.is_complete)]
        if not outstanding:
            return None
        self._held = []
        self._utterances = {key: each for key, each in self._utterances.items() if each.is_complete}
        self._speaking = None
        self._dropped_id = self.utterance_id
        self.speech_until = now
        self._restart_estimate(now)
        cuts = (
            Cut(
                each.utterance_id,
                each.said(each.made_bytes / self._bytes_per_ms),
                each.skipped_ms + each.played_ms,
                each.utterance_id in held,
            )
            for each in outstanding
        )
        return outstanding[-1].played_ms, tuple(cuts)

    def _is_held(self, utterance: _Utterance) -> bool:
        return any(each is utterance for each in self._held)

    def _byte_at(self, position_ms: int) -> int:
        return int(position_ms * self._samples_per_ms) * self._sample_bytes

    def _will_speak(self, byte_count: int, now: float) -> None:
        self.speech_until = max(self.speech_until, now) + byte_count / self._bytes_per_ms / 1000

    def _limit_kept(self) -> None:
        """Keep no more than the newest of what was sent: a caller that reports its playback never has more of it."""
        over = sum(max(0, each.sent_bytes - each.kept_from) for each in self._utterances.values())
        over -= int(_MOST_KEPT_S * 1000 * self._bytes_per_ms)
        for each in self._utterances.values():
            if over <= 0:
                return
            surplus = min(over, max(0, each.sent_bytes - each.kept_from))
            each.keep_from(each.kept_from + surplus)
            over -= surplus

    def _unplayed_ms(self, utterance: _Utterance) -> float:
        if utterance.utterance_id < self._playing_id:
            return 0.0
        return max(0.0, utterance.sent_bytes / self._bytes_per_ms - utterance.played_ms)

    def _restart_estimate(self, now: float) -> None:
        """Estimate from what was reported; a loudspeaker with nothing left plays on only once it reports again."""
        self._evicted_ms = 0.0
        self._buffered_ms = self.lead_s * 1000
        self._estimated_at = now if self._buffered_ms > 0 else None

    def _play_on(self, now: float) -> None:
        if self._estimated_at is not None:
            self._buffered_ms = max(0.0, self._buffered_ms - (now - self._estimated_at) * 1000)
            self._estimated_at = now


@dataclass(slots=True, eq=False)
class _Utterance:
    """One utterance on its way; `is_complete` once the caller has played all of it."""

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

    def keep_from(self, position: int) -> None:
        """Forget the audio before this position, which the caller has played."""
        self.kept_from += len(self.kept.take(max(0, position - self.kept_from)))

    def said(self, made_ms: float) -> str:
        """Return the words that fit into the part that was played, taking all words to be equally long."""
        words = self.text.split()
        whole_ms = self.skipped_ms + made_ms
        share = min(1.0, (self.skipped_ms + self.played_ms) / whole_ms) if whole_ms else 0.0
        return " ".join(words[: round(len(words) * share)])
