"""What of the agent's speech waits for the ear, and how much has reached it. Sans-IO.

Speech arrives faster than it is spoken and leaves at the pace of a loudspeaker, a generation after the other. An
interruption empties the buffer; what arrives late of an interrupted generation is dropped.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from voice_client.audio.loudness import is_voiced

_BYTES_PER_SAMPLE = 2
_REPORT_MS = 200
_HEIR_MS = 200
"""How much of what takes the place of held audio must have arrived beyond what is skipped of it."""


@dataclass(frozen=True, slots=True)
class Position:
    """`position_ms` of a generation have been played; `is_complete` once that is all of it."""

    generation: int
    position_ms: int
    is_complete: bool


class Playback:
    """A buffer of PCM16 at `rate_hz`, filled by `push` and drained by `pull`.

    Call `take_positions` before each `pull`: what an earlier `pull` returned counts as played by then.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.late_bytes = 0
        """How much speech arrived after its generation was flushed."""
        self._queue: deque[_Generation] = deque()
        self._newest = -1
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
        """The newest generation announced, 0 before the first."""
        return max(self._newest, 0)

    @property
    def unplayed(self) -> tuple[int, int]:
        """The first generation that was neither played to its end nor flushed, and how much of it was played, in ms."""
        for generation in self._queue:
            if generation.pcm or not generation.is_ended:
                return generation.number, self._to_ms(generation.played_samples)
        return self.newest + 1, 0

    @property
    def buffered_samples(self) -> int:
        """How much speech waits, all generations together."""
        return sum(len(generation.pcm) for generation in self._queue) // _BYTES_PER_SAMPLE

    @property
    def played_ms(self) -> int:
        """How much speech was handed out, all generations together."""
        return self._to_ms(self._played_samples)

    @property
    def longest_underrun_ms(self) -> int:
        """The longest silence within one generation because its speech came too late."""
        return self._to_ms(self._longest_underrun_samples)

    def begin(self, generation: int) -> None:
        """Announce a generation; `push` and `end` do so too. Those up to the newest one known are not taken again."""
        if generation > self._newest:
            self._newest = generation
            self._queue.append(_Generation(generation))

    def push(self, generation: int, pcm: bytes) -> bool:
        """Append speech; returns False where it came after its generation was flushed or had ended."""
        self.begin(generation)
        target = self._find(generation)
        if target is None or target.is_ended:
            self.late_bytes += len(pcm)
            return False
        target.pcm += pcm
        target.skip()
        return True

    def hold(self) -> tuple[int, int]:
        """The connection was lost: return the first generation not played to its end, and the position there in ms.

        What is buffered is played on. What is said again from that position as `inherit` announces takes its place
        without a seam.
        """
        if self._held is None:
            generation, position_ms = self.unplayed
            begun = self._find(generation)
            ahead = 0 if begun is None else begun.played_samples - position_ms * self.rate_hz // 1000
            self._held = _Held(generation, position_ms, self._played_samples - ahead)
        elif (heir := self._held.heir) is not None:
            self._held.heir = None  # it had no turn yet, and will be said once more
            self._queue = deque(waiting for waiting in self._queue if waiting.number < heir)
        for waiting in self._queue:
            waiting.is_ended = True  # nothing more comes over the lost connection
        return self._held.generation, self._held.position_ms

    def inherit(self, generation: int, *, is_again: bool) -> None:
        """The server begins to say this over the new connection: the rest of what was held, or something else."""
        if self._held is None or self._held.heir is not None:
            return  # what is said after the heir follows it
        if is_again:
            self._held.heir = generation
        else:
            self.flush(generation - 1)

    def end(self, generation: int) -> None:
        """No more speech of this generation follows."""
        self.begin(generation)
        target = self._find(generation)
        if target is not None:
            target.is_ended = True

    def flush(self, generation: int) -> list[Position]:
        """Drop this generation and all before; returns how far those that were not complete had come."""
        self._newest = max(self._newest, generation)
        self._held = None
        flushed = []
        while self._queue and self._queue[0].number <= generation:
            dropped = self._queue.popleft()
            flushed.append(Position(dropped.number, self._to_ms(dropped.played_samples), is_complete=False))
        return flushed

    def pull(self, samples: int) -> bytes:
        """Return the next `samples` of speech, fewer where less is buffered, none where nobody speaks."""
        taken = bytearray()
        wanted = samples * _BYTES_PER_SAMPLE
        if self._held is not None:
            self._hand_over(self._held, wanted)
        for generation in self._queue:
            chunk = generation.pcm[: wanted - len(taken)]
            del generation.pcm[: len(chunk)]
            generation.played_samples += len(chunk) // _BYTES_PER_SAMPLE
            if not generation.is_audible and is_voiced(chunk):
                generation.is_audible = True
                self._audible.append(generation.number)
            taken += chunk
            if generation.pcm or not generation.is_ended:
                break
        self._played_samples += len(taken) // _BYTES_PER_SAMPLE
        self._note_underrun(samples - len(taken) // _BYTES_PER_SAMPLE)
        return bytes(taken)

    def take_audible(self) -> list[int]:
        """Return the generations whose first audible sample was in what `pull` has returned since the last call."""
        taken, self._audible = self._audible, []
        return taken

    def take_positions(self) -> list[Position]:
        """Return what is worth telling the server: every generation completed, and the present one each 200 ms."""
        positions = []
        while self._queue and self._queue[0].is_ended and not self._queue[0].pcm:
            done = self._queue.popleft()
            positions.append(Position(done.number, self._to_ms(done.played_samples), is_complete=True))
        if self._queue:
            current = self._queue[0]
            position_ms = self._to_ms(current.played_samples)
            if position_ms - current.reported_ms >= _REPORT_MS:
                current.reported_ms = position_ms
                positions.append(Position(current.number, position_ms, is_complete=False))
        return positions

    def _hand_over(self, held: _Held, wanted: int) -> None:
        """Once there is enough of the heir, or nothing else, play that; some of it was played since `resume`."""
        heir = None if held.heir is None else self._find(held.heir)
        if heir is None:
            return
        played = (self._played_samples - held.played_samples) * _BYTES_PER_SAMPLE
        left = sum(len(generation.pcm) for generation in self._queue if generation.number < heir.number)
        enough = played + self.rate_hz * _HEIR_MS // 1000 * _BYTES_PER_SAMPLE
        if left < wanted or heir.is_ended or len(heir.pcm) >= enough:
            self._held = None
            while self._queue[0] is not heir:
                self._queue.popleft()
            heir.skip_bytes = played
            heir.skip()

    def _note_underrun(self, missing_samples: int) -> None:
        is_starved = bool(self._queue) and not self._queue[0].is_ended and self._queue[0].played_samples > 0
        if missing_samples and is_starved:
            self._underrun_samples += missing_samples
            self._longest_underrun_samples = max(self._longest_underrun_samples, self._underrun_samples)
        if not missing_samples or not is_starved:
            self._underrun_samples = 0

    def _find(self, number: int) -> _Generation | None:
        return next((generation for generation in self._queue if generation.number == number), None)

    def _to_ms(self, samples: int) -> int:
        return samples * 1000 // self.rate_hz


@dataclass(slots=True)
class _Generation:
    number: int
    pcm: bytearray = field(default_factory=bytearray)
    is_ended: bool = False
    is_audible: bool = False
    played_samples: int = 0
    reported_ms: int = 0
    skip_bytes: int = 0

    def skip(self) -> None:
        """Take what was played under another number for played."""
        skipped = min(self.skip_bytes, len(self.pcm))
        self.skip_bytes -= skipped
        self.played_samples += skipped // _BYTES_PER_SAMPLE
        del self.pcm[:skipped]


@dataclass(slots=True)
class _Held:
    """What was playing when the connection was lost; `heir` is the generation that takes its place."""

    generation: int
    position_ms: int
    played_samples: int
    heir: int | None = None
