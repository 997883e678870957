"""The buffer of the agent's speech, and how much of it was played. Sans-IO.

Speech arrives faster than it is spoken and leaves at the pace of a loudspeaker, an utterance after the other. An
interruption empties the buffer; what arrives late of an interrupted utterance is dropped.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from voice_client.audio.loudness import is_voiced

_BYTES_PER_SAMPLE = 2
_REPORT_MS = 200
_REPLACEMENT_MS = 200
"""How much of what takes the place of held audio must have arrived beyond what is skipped of it."""


@dataclass(frozen=True, slots=True)
class Position:
    """`position_ms` of an utterance have been played; `is_complete` once that is all of it.

    It was reached `ago_samples` before the end of what the latest `pull` returned or left silent.
    """

    utterance_id: int
    position_ms: int
    is_complete: bool
    ago_samples: int = 0


class Playback:
    """A buffer of PCM16 at `rate_hz`, filled by `push` and drained by `pull`.

    Call `take_positions` before each `pull`: what an earlier `pull` returned counts as played by then.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.late_bytes = 0
        """How much speech arrived after its utterance was flushed."""
        self._queue: deque[_Utterance] = deque()
        self._newest = -1
        self._pulled_samples = 0
        self._played_samples = 0
        self._underrun_samples = 0
        self._longest_underrun_samples = 0
        self._audible: list[int] = []
        self._held: _Held | None = None

    @property
    def is_active(self) -> bool:
        """Whether speech is buffered, or more of what has begun may come."""
        return bool(self._queue)

    @property
    def newest(self) -> int:
        """The newest utterance announced, 0 before the first."""
        return max(self._newest, 0)

    @property
    def unplayed(self) -> tuple[int, int]:
        """The first utterance that was neither played to its end nor flushed, and how much of it was played, in ms."""
        for utterance in self._queue:
            if utterance.pcm or not utterance.is_ended:
                return utterance.number, self._to_ms(utterance.played_samples)
        return self.newest + 1, 0

    @property
    def buffered_samples(self) -> int:
        """How much speech waits, all utterances together."""
        return sum(len(utterance.pcm) for utterance in self._queue) // _BYTES_PER_SAMPLE

    @property
    def played_ms(self) -> int:
        """How much speech was handed out, all utterances together."""
        return self._to_ms(self._played_samples)

    @property
    def longest_underrun_ms(self) -> int:
        """The longest silence within one utterance because its speech came too late."""
        return self._to_ms(self._longest_underrun_samples)

    def begin(self, utterance_id: int) -> None:
        """Announce an utterance; `push` and `end` do so too. Those up to the newest one known are not taken again."""
        if utterance_id > self._newest:
            self._newest = utterance_id
            self._queue.append(_Utterance(utterance_id))

    def push(self, utterance_id: int, pcm: bytes) -> bool:
        """Append speech; returns False where it came after its utterance was flushed or had ended."""
        self.begin(utterance_id)
        target = self._find(utterance_id)
        if target is None or target.is_ended:
            self.late_bytes += len(pcm)
            return False
        target.pcm += pcm
        target.skip()
        return True

    def hold(self) -> tuple[int, int]:
        """The connection was lost: return the first utterance not played to its end, and the position there in ms.

        What is buffered is played on. What is said again from that position as `replace_held` announces takes its place
        without a seam.
        """
        if self._held is None:
            utterance_id, position_ms = self.unplayed
            begun = self._find(utterance_id)
            ahead = 0 if begun is None else begun.played_samples - position_ms * self.rate_hz // 1000
            self._held = _Held(utterance_id, position_ms, self._played_samples - ahead)
        elif (replacement := self._held.replacement) is not None:
            self._held.replacement = None  # it had no turn yet, and will be said once more
            self._queue = deque(waiting for waiting in self._queue if waiting.number < replacement)
        for waiting in self._queue:
            waiting.is_ended = True  # nothing more comes over the lost connection
        return self._held.utterance_id, self._held.position_ms

    def replace_held(self, utterance_id: int, *, is_again: bool) -> None:
        """Take over from what is held where the server says it again (`is_again`); else drop what is held."""
        if self._held is None or self._held.replacement is not None:
            return  # what is said after the replacement follows it
        if is_again:
            self._held.replacement = utterance_id
        else:
            self.flush(utterance_id - 1)

    def end(self, utterance_id: int) -> None:
        """No more speech of this utterance follows."""
        self.begin(utterance_id)
        target = self._find(utterance_id)
        if target is not None:
            target.is_ended = True

    def flush(self, utterance_id: int) -> list[Position]:
        """Drop this utterance and all before; returns how far those that were not complete had come."""
        self._newest = max(self._newest, utterance_id)
        self._held = None
        flushed = []
        while self._queue and self._queue[0].number <= utterance_id:
            dropped = self._queue.popleft()
            flushed.append(self._position(dropped, is_complete=False))
        return flushed

    def pull(self, samples: int) -> bytes:
        """Return the next `samples` of speech, fewer where less is buffered, none where no utterance is buffered."""
        taken = bytearray()
        wanted = samples * _BYTES_PER_SAMPLE
        if self._held is not None:
            self._hand_over(self._held, wanted)
        for utterance in self._queue:
            chunk = utterance.pcm[: wanted - len(taken)]
            del utterance.pcm[: len(chunk)]
            utterance.played_samples += len(chunk) // _BYTES_PER_SAMPLE
            utterance.stalls(has_stalled=len(taken) + len(chunk) < wanted and not utterance.is_ended)
            if not utterance.is_audible and is_voiced(chunk):
                utterance.is_audible = True
                self._audible.append(utterance.number)
            taken += chunk
            if chunk:
                utterance.played_until = self._pulled_samples + len(taken) // _BYTES_PER_SAMPLE
            if utterance.pcm or not utterance.is_ended:
                break
        self._pulled_samples += samples
        self._played_samples += len(taken) // _BYTES_PER_SAMPLE
        self._note_underrun(samples - len(taken) // _BYTES_PER_SAMPLE)
        return bytes(taken)

    def take_audible(self) -> list[int]:
        """Return the utterances whose first audible sample was in what `pull` has returned since the last call."""
        taken, self._audible = self._audible, []
        return taken

    def take_positions(self) -> list[Position]:
        """Return what is worth telling the server.

        That is every utterance completed, the present one each 200 ms, and where its speech came too late.
        """
        positions = []
        while self._queue and self._queue[0].is_ended and not self._queue[0].pcm:
            positions.append(self._position(self._queue.popleft(), is_complete=True))
        if self._queue:
            current = self._queue[0]
            position = self._position(current, is_complete=False)
            progress_ms = position.position_ms - current.reported_ms
            if progress_ms >= _REPORT_MS or (current.is_stall_new and progress_ms):
                current.reported_ms = position.position_ms
                positions.append(position)
            current.is_stall_new = False
        return positions

    def _position(self, utterance: _Utterance, *, is_complete: bool) -> Position:
        position_ms = self._to_ms(utterance.played_samples)
        beyond = utterance.played_samples - position_ms * self.rate_hz // 1000
        ago_samples = self._pulled_samples - utterance.played_until + beyond
        return Position(utterance.number, position_ms, is_complete, ago_samples)

    def _hand_over(self, held: _Held, wanted: int) -> None:
        """Once there is enough of the replacement, or nothing else, play that; some of it was played since `resume`."""
        replacement = None if held.replacement is None else self._find(held.replacement)
        if replacement is None:
            return
        played = (self._played_samples - held.played_samples) * _BYTES_PER_SAMPLE
        left = sum(len(utterance.pcm) for utterance in self._queue if utterance.number < replacement.number)
        enough = played + self.rate_hz * _REPLACEMENT_MS // 1000 * _BYTES_PER_SAMPLE
        if left < wanted or replacement.is_ended or len(replacement.pcm) >= enough:
            self._held = None
            while self._queue[0] is not replacement:
                self._queue.popleft()
            replacement.skip_bytes = played
            replacement.skip()

    def _note_underrun(self, missing_samples: int) -> None:
        is_starved = bool(self._queue) and not self._queue[0].is_ended and self._queue[0].played_samples > 0
        if missing_samples and is_starved:
            self._underrun_samples += missing_samples
            self._longest_underrun_samples = max(self._longest_underrun_samples, self._underrun_samples)
        if not missing_samples or not is_starved:
            self._underrun_samples = 0

    def _find(self, number: int) -> _Utterance | None:
        return next((utterance for utterance in self._queue if utterance.number == number), None)

    def _to_ms(self, samples: int) -> int:
        return samples * 1000 // self.rate_hz


@dataclass(slots=True)
class _Utterance:
    number: int
    pcm: bytearray = field(default_factory=bytearray)
    is_ended: bool = False
    is_audible: bool = False
    played_samples: int = 0
    played_until: int = 0
    """Where its newest sample that was played ended, in samples that were pulled."""
    reported_ms: int = 0
    is_stalled: bool = False
    is_stall_new: bool = False
    """Whether it has stalled since its position was taken last."""
    skip_bytes: int = 0

    def stalls(self, *, has_stalled: bool) -> None:
        """Note whether playback waits for more of it, once any of it was played."""
        self.is_stall_new |= has_stalled and not self.is_stalled and self.played_samples > 0
        self.is_stalled = has_stalled

    def skip(self) -> None:
        """Take what was played under another number for played."""
        skipped = min(self.skip_bytes, len(self.pcm))
        self.skip_bytes -= skipped
        self.played_samples += skipped // _BYTES_PER_SAMPLE
        del self.pcm[:skipped]


@dataclass(slots=True)
class _Held:
    """What was playing when the connection was lost; `replacement` is the utterance that takes its place."""

    utterance_id: int
    position_ms: int
    played_samples: int
    replacement: int | None = None
