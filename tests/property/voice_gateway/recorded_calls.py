"""A call in a model of caller, network and workers that knows what was said and what was played, to the sample."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voice_client.audio.playback import Playback, Position
from voice_gateway.recording.reading.assembly import SegmentRecords, read_segments
from voice_gateway.recording.segments.recorder import CallRecorder, RecordedCall, RecordingPolicy, Recordings
from voice_gateway.recording.segments.writer import SegmentWriter
from voicelink.wire import AudioFrame, Codec, Flush, Heard, Played, Resume, ServerMessage, Speech

CALLER_HZ: Final = 16_000
AGENT_HZ: Final = 24_000
FRAME_MS: Final = 20
WALL_S: Final = 1_790_000_000.0
Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Faults:
    """What befalls the call; times are in ms since it began."""

    kills_at: tuple[int, ...] = ()
    barge_ins_at: tuple[int, ...] = ()
    jitter_ms: float = 0.0
    transit_ms: float = 30.0
    loss: float = 0.0
    """Messages and frames that come a round trip and 60 ms late, and hold up those behind them."""
    skew_ppm: float = 0.0
    """By how much the workers' clocks run faster than the caller's."""


@dataclass(slots=True)
class _Worker:
    name: str
    recorder: CallRecorder
    writer: SegmentWriter
    next_sequence: int
    is_alive: bool = True


@dataclass(repr=False)
class RecordedModelCall:
    """`run` it; then `files` are what the workers left, beside what is true."""

    seed: int
    length_ms: int
    faults: Faults
    folder: Path
    caller: Samples = field(init=False)
    agent: Samples = field(init=False)
    """What left the loudspeaker, at the time at which it did, in the caller's clock."""

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        frames = self.length_ms // FRAME_MS
        noise = np.random.default_rng(self.seed)
        self.caller = noise.integers(-20_000, 20_000, frames * CALLER_HZ * FRAME_MS // 1000, np.int16)
        self.agent = np.zeros(self.length_ms * AGENT_HZ // 1000 + AGENT_HZ * 60, np.int16)
        self._noise = noise

    def run(self) -> list[SegmentRecords]:
        """Play the call to its end and return the segments."""
        run = _Run(self, self._rng)
        run.run()
        return read_segments({path.name: path.read_bytes() for path in (self.folder / "call").iterdir()})

    def speech(self, ms: int) -> Samples:
        """Return noise that is nowhere 0, so that played samples can be known from silence."""
        samples = self._noise.integers(1, 20_000, ms * AGENT_HZ // 1000, np.int16)
        return samples * self._noise.choice(np.array([-1, 1], np.int16), len(samples))


class _Run:
    def __init__(self, call: RecordedModelCall, rng: random.Random) -> None:
        self._call = call
        self._rng = rng
        self._faults = call.faults
        self._now_ms = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._arrive_up = self._arrive_down = 0.0
        self._playback = Playback(AGENT_HZ)
        self._is_playing = False
        self._acked = -1
        self._sent = 0
        self._said: dict[int, Samples] = {}
        self._utterance_id = 0
        self._is_connected = True
        self._epoch = 1
        self._worker = self._new_worker(0, is_taken_over=False)
        self._flushed = 0

    def run(self) -> None:
        call, faults = self._call, self._faults
        for number in range(call.length_ms // FRAME_MS):
            self._at((number + 1) * FRAME_MS, partial(self._capture, number))
        for at_ms in range(100, call.length_ms, 100):
            self._at(at_ms, lambda: self._worker.writer.write_due())
        for at_ms in range(1_000, call.length_ms, 2_000):
            self._at(at_ms, self._save)
        at_ms = 300
        while at_ms < call.length_ms - 8_000:
            self._at(at_ms, self._answer)
            at_ms += self._rng.randrange(1_500, 7_000)
        for at_ms in faults.kills_at:
            self._at(at_ms, self._kill)
        for at_ms in faults.barge_ins_at:
            # how far the caller had come when it stopped dies with the worker
            if not any(0 <= kill - at_ms < 1_000 for kill in faults.kills_at):
                self._at(at_ms, self._barge_in)
        while self._events:
            self._now_ms, _, act = heapq.heappop(self._events)
            act()
        self._save()
        self._worker.recorder.close("normal", self._loop_s(), is_over=True)
        self._worker.writer.close()

    def _at(self, at_ms: float, act: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (at_ms, self._count, act))

    def _loop_s(self) -> float:
        return 5_000 * self._epoch + self._now_ms / 1000 * (1 + self._faults.skew_ppm / 1e6)

    def _delay(self) -> float:
        late_ms = 2 * self._faults.transit_ms + 60 if self._rng.random() < self._faults.loss else 0
        return self._faults.transit_ms + self._rng.uniform(0, self._faults.jitter_ms) + late_ms

    def _up(self, act: Callable[[], None]) -> None:
        """Have it arrive at the worker, in order, if that is alive by then."""
        worker = self._worker
        self._arrive_up = max(self._arrive_up, self._now_ms + self._delay())
        self._at(self._arrive_up, lambda: act() if worker.is_alive else None)

    def _down(self, act: Callable[[], None]) -> None:
        worker = self._worker
        self._arrive_down = max(self._arrive_down, self._now_ms + self._delay())
        self._at(self._arrive_down, lambda: act() if worker.is_alive else None)

    def _new_worker(self, next_sequence: int, *, is_taken_over: bool) -> _Worker:
        writer = SegmentWriter(is_threaded=False)
        policy = RecordingPolicy(has_audio=True, has_words=True, is_consent_asked=False)
        name = f"worker-{self._epoch}"
        recordings = Recordings(name, self._call.folder, policy, writer, lambda: WALL_S + self._now_ms / 1000)
        call = RecordedCall("call", self._epoch, "agent", "ann", "model", "", is_taken_over=is_taken_over)
        recorder = recordings.begin(call, self._loop_s())
        assert recorder is not None
        return _Worker(name, recorder, writer, next_sequence)

    # The caller's microphone

    def _capture(self, number: int) -> None:
        self._sent = number + 1
        if self._is_connected:
            self._send_frame(number)

    def _send_frame(self, number: int) -> None:
        size = CALLER_HZ * FRAME_MS // 1000
        payload = self._call.caller[number * size : (number + 1) * size].tobytes()
        frame = AudioFrame(number, number * 960, Codec.PCM16_16K, payload)
        self._up(lambda: self._take_frame(frame))

    def _take_frame(self, frame: AudioFrame) -> None:
        worker = self._worker
        if frame.sequence == worker.next_sequence:
            worker.next_sequence += 1
            worker.recorder.uplink(frame, self._loop_s())

    def _save(self) -> None:
        """As a session does: the segment is written first, then the record saved, then the frames acked."""
        worker = self._worker
        if not worker.is_alive or worker.next_sequence - 1 <= self._acked:
            return
        worker.writer.write_due()
        self._acked = worker.next_sequence - 1
        self._say(Heard(sequence=self._acked))

    # The agent, and the caller's loudspeaker

    def _say(self, message: ServerMessage) -> None:
        self._worker.recorder.sent(message, self._loop_s())

    def _answer(self) -> None:
        if self._worker.is_alive and self._is_connected:
            self._speak(self._call.speech(FRAME_MS * self._rng.randrange(12, 250)), is_again=False)

    def _speak(self, samples: Samples, *, is_again: bool) -> None:
        self._utterance_id += 1
        number = self._utterance_id
        self._said[number] = samples
        self._say(Speech(utterance_id=number, turn=number, is_again=is_again))
        size = AGENT_HZ * FRAME_MS // 1000
        frames = [
            AudioFrame(index, index * 960, Codec.PCM16_24K, samples[at : at + size].tobytes())
            for index, at in enumerate(range(0, len(samples), size))
        ]
        self._worker.recorder.downlink(number, frames, self._loop_s())

        def announced() -> None:
            self._playback.replace_held(number, is_again=is_again)
            self._playback.begin(number)
            self._wake()

        self._down(announced)
        for frame in frames:
            self._down(partial(self._pushed, number, frame.payload))
        self._down(lambda: self._playback.end(number))
        self._down(self._wake)

    def _pushed(self, number: int, pcm: bytes) -> None:
        self._playback.push(number, pcm)
        self._wake()

    def _wake(self) -> None:
        """As the client's player: it begins at once where nothing is being played."""
        if not self._is_playing and self._playback.is_active:
            self._is_playing = True
            self._play()

    def _play(self) -> None:
        for position in self._playback.take_positions():
            self._report(position)
        pcm = self._playback.pull(AGENT_HZ * FRAME_MS // 1000)
        at = round(self._now_ms * AGENT_HZ / 1000)
        self._call.agent[at : at + len(pcm) // 2] = np.frombuffer(pcm, np.int16)
        self._is_playing = self._playback.is_active
        if self._is_playing:
            self._at(self._now_ms + FRAME_MS, self._play)

    def _report(self, position: Position) -> None:
        if self._is_connected:
            played = Played(
                utterance_id=position.utterance_id, position_ms=position.position_ms, is_complete=position.is_complete
            )
            self._up(lambda: self._worker.recorder.received(played, self._loop_s()))

    def _barge_in(self) -> None:
        if self._worker.is_alive and self._is_connected:
            number = self._utterance_id
            self._say(Flush(utterance_id=number))
            self._flushed = number

            def flushed() -> None:
                for position in self._playback.flush(number):
                    self._report(position)

            self._down(flushed)

    # The worker's death

    def _kill(self) -> None:
        if not self._is_connected:
            return
        self._worker.is_alive = self._is_connected = False  # what waits in memory is gone with it
        self._at(self._now_ms + self._rng.uniform(300, 2_500), self._dial)

    def _dial(self) -> None:
        for position in self._playback.take_positions():
            self._report(position)
        next_utterance_id, position_ms = self._playback.hold()
        resume = Resume(
            session="call",
            token="t",
            utterance_id=self._playback.newest,
            next_utterance_id=next_utterance_id,
            position_ms=position_ms,
        )
        self._epoch += 1
        self._worker = self._new_worker(self._acked + 1, is_taken_over=True)
        self._arrive_up = self._arrive_down = self._now_ms
        self._up(lambda: self._resumed(resume))

    def _resumed(self, resume: Resume) -> None:
        self._worker.recorder.received(resume, self._loop_s())
        self._utterance_id = max(self._utterance_id, resume.utterance_id)
        self._down(self._ready)
        unsaid = [number for number in self._said if resume.next_utterance_id <= number and number > self._flushed]
        if unsaid:
            is_begun = unsaid[0] == resume.next_utterance_id
            rest = np.concatenate([self._said.pop(number) for number in unsaid])
            begin = resume.position_ms * AGENT_HZ // 1000 if is_begun else 0
            self._speak(rest[begin:], is_again=is_begun)

    def _ready(self) -> None:
        self._is_connected = True
        for number in range(self._acked + 1, self._sent):
            self._send_frame(number)
