"""What the agent says: each utterance's text, and how much of it was made, sent and played. Sans-IO."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from voice_gateway.session.core.speech.agent_audio import AgentAudio
from voice_gateway.session.core.speech.utterances.held_utterances import HeldUtterances
from voice_gateway.session.core.speech.utterances.playback_estimate import PlaybackEstimate
from voice_gateway.session.core.speech.utterances.utterance import Cut, Utterance, WholePlayback

_MOST_OUTSTANDING = 64
_MOST_KEPT_S = 60
"""Audio sent and not reported as played that is kept for a resume."""


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
    follow from these positions. Sent and played belong to a connection: call `hold` when it is lost, and `go_on` or
    `let_go` when the caller is back.
    """

    def __init__(self, audio: AgentAudio, utterance_id: int = 0) -> None:
        self.utterance_id = utterance_id
        """The newest utterance, 0 before the first one."""
        self.speech_until = 0.0
        """When a loudspeaker that plays all that was made, as soon as it was made, falls silent."""
        self.held = HeldUtterances(audio)
        self.playback = PlaybackEstimate()
        self._audio = audio
        self._bytes_per_ms = audio.output_bytes_per_ms
        self._utterances: dict[int, Utterance] = {}
        self._speaking: Utterance | None = None
        self._playing_id = 0
        """The newest utterance that the caller has reported. It plays in order: those before it are over."""
        self._dropped_id = 0
        """The newest utterance of those that were interrupted or held."""
        self._evicted_ms = 0.0
        """Sent of utterances beyond the most that are kept, and not reported since."""

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
        unplayed = [self._unplayed_ms(each) for each in self._utterances.values()]
        return (sum(unplayed) + self._evicted_ms) / 1000

    def begin(self, text: str, skipped_ms: int = 0) -> int:
        """Number a new utterance, of which `skipped_ms` are not said again; first call `end` for one being made."""
        self.utterance_id += 1
        self._speaking = Utterance(self.utterance_id, text, skipped_ms, self._audio.output_bytes(skipped_ms))
        self._utterances[self.utterance_id] = self._speaking
        if len(self._utterances) > _MOST_OUTSTANDING:
            self._evicted_ms += self._unplayed_ms(self._utterances.pop(next(iter(self._utterances))))
        return self.utterance_id

    def add(self, pcm: bytes, now: float) -> bytes:
        """Take audio of the utterance that is being made, and return what of it is to be spoken now."""
        utterance = self._speaking
        if utterance is None:
            return b""
        spoken = utterance.make(pcm)
        if utterance in self.held:
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
        return None if utterance in self.held else utterance.utterance_id

    def sent(self, utterance_id: int, byte_count: int, now: float) -> None:
        """So much of the utterance's audio was given to the transport; one that was interrupted does not count."""
        utterance = self._utterances.get(utterance_id)
        if utterance is None and utterance_id <= self._dropped_id:
            return
        duration_ms = byte_count / self._bytes_per_ms
        self.playback.sent(duration_ms, now)
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
        utterance.keep_from(self._audio.output_bytes(utterance.played_ms))
        if utterance.sent_bytes and utterance_id >= self._playing_id:
            self._playing_id = utterance_id
            self._reported(now)
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
        self.held.add(each for each in self._utterances.values() if not each.is_complete)
        self._utterances.clear()
        self._dropped_id = self.utterance_id
        self.speech_until = 0.0
        self._evicted_ms = 0.0
        self.playback.clear()

    def go_on(self, next_utterance_id: int, position_ms: int, now: float) -> Sequence[Continuation]:
        """Go on with what is held, as new utterances, from `position_ms` of `next_utterance_id`."""
        return [self._continue(each, next_utterance_id, now) for each in self.held.take(next_utterance_id, position_ms)]

    def let_go(self) -> None:
        """Forget what is held: it is said again as a new utterance, or not at all."""
        if self._speaking is not None and self._speaking in self.held:
            self._speaking = None
        self.held.clear()

    def interrupt(self, now: float) -> tuple[int, tuple[Cut, ...]] | None:
        """The caller spoke: return how much of the newest utterance was played in ms, and all that were cut off.

        `None` means that nothing was being said.
        """
        held_ids = self.held.ids
        outstanding = [*self.held, *(each for each in self._utterances.values() if not each.is_complete)]
        if not outstanding:
            return None
        self.held.clear()
        self._utterances = {key: each for key, each in self._utterances.items() if each.is_complete}
        self._speaking = None
        self._dropped_id = self.utterance_id
        self.speech_until = now
        self._reported(now)
        cuts = (
            Cut(
                each.utterance_id,
                each.said(each.made_bytes / self._bytes_per_ms),
                each.skipped_ms + each.played_ms,
                each.utterance_id in held_ids,
            )
            for each in outstanding
        )
        return outstanding[-1].played_ms, tuple(cuts)

    def _continue(self, former: Utterance, next_utterance_id: int, now: float) -> Continuation:
        pcm = former.kept.take(len(former.kept))
        skipped_ms = former.skipped_ms + round(former.kept_from / self._bytes_per_ms)
        self.utterance_id += 1
        utterance = Utterance(self.utterance_id, former.text, skipped_ms, former.skip_bytes, len(pcm))
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

    def _will_speak(self, byte_count: int, now: float) -> None:
        self.speech_until = max(self.speech_until, now) + byte_count / self._bytes_per_ms / 1000

    def _limit_kept(self) -> None:
        """Keep no more than the newest of what was sent: a caller that reports its playback never has more of it."""
        over = sum([max(0, each.sent_bytes - each.kept_from) for each in self._utterances.values()])
        over -= int(_MOST_KEPT_S * 1000 * self._bytes_per_ms)
        for each in self._utterances.values():
            if over <= 0:
                return
            surplus = min(over, max(0, each.sent_bytes - each.kept_from))
            each.keep_from(each.kept_from + surplus)
            over -= surplus

    def _unplayed_ms(self, utterance: Utterance) -> float:
        if utterance.utterance_id < self._playing_id:
            return 0.0
        return max(0.0, utterance.sent_bytes / self._bytes_per_ms - utterance.played_ms)

    def _reported(self, now: float) -> None:
        self._evicted_ms = 0.0
        self.playback.reported(self.lead_s * 1000, now)
