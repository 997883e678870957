"""LiveKit's audio output: speech leaves at once, and its segments end when the caller has played them.

A segment is what LiveKit gives from the first `capture_frame` to `flush`, and waits for `on_playback_finished` of,
exactly once. A session counts playback by `Reply`: a segment becomes a reply for each sentence, by the times that text
to speech gives (`TimedString`), else by the usual length of speech. So what was heard of a segment that was
interrupted is what the session's transcript says of its replies.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from livekit import rtc
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from livekit.agents.voice.io import AudioOutput, AudioOutputCapabilities, TimedString

from voice_gateway.agent.base import AgentEvent, PlaybackFinished, Reply, ReplyAudio, ReplyEnded
from voice_gateway.agents.livekit.audio_io.texts import Texts
from voice_gateway.agents.livekit.audio_io.user_input import SAMPLE_BYTES
from voice_gateway.agents.livekit.call.history import normal

_CHARACTERS_PER_S: Final = 17
"""Of fast speech: the sentence after the current one begins rather early than late."""
_EARLY_S: Final = 0.005
_REPORT_WAIT_S: Final = 0.5


@dataclass(slots=True)
class _Piece:
    """A sentence of a segment; one that was said by an earlier worker is not said again (`is_silent`)."""

    text: str
    start_s: float
    is_silent: bool
    audio: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class _Segment:
    duration_s: float = 0.0
    is_flushed: bool = False
    is_cleared: bool = False
    is_timed: bool = False
    finished: list[tuple[str, int]] = field(default_factory=list)
    pieces: deque[_Piece] = field(default_factory=deque)
    """Those that were not played yet; the last one is being made, until the segment is flushed."""
    held: bytes = b""
    """The newest frame, kept back so that text without a piece still gets audio."""


class SpeechOutput(AudioOutput):
    """Turns LiveKit's speech into replies, and the session's reports about them into LiveKit's.

    For a client that reports no playback, speech counts as played `grace_s` after it must have been.
    """

    def __init__(
        self,
        emit: Callable[[AgentEvent], None],
        texts: Texts,
        rate_hz: int,
        *,
        grace_s: float,
        on_stop: Callable[[], None],
    ) -> None:
        super().__init__(label="voice-gateway", capabilities=AudioOutputCapabilities(pause=False), sample_rate=rate_hz)
        self.is_attached: Callable[[], bool] = lambda: True
        self.is_ending = False
        """Whether nothing of the caller follows: playback is not waited for."""
        self.exactly: str | None = None
        """What the next segment says, as one reply of exactly this text."""
        self.said = ""
        """What the caller heard of the next answer at an earlier worker."""
        self._emit = emit
        self._texts = texts
        self._bytes_per_s = rate_hz * SAMPLE_BYTES
        self._grace_s = grace_s
        self._on_stop = on_stop
        self._segment: _Segment | None = None
        self._timed: deque[tuple[str, float]] = deque()
        self._is_replying = False
        self._speech_until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_saying(self) -> bool:
        """Whether a segment is being made, or not yet played to its end."""
        return self._segment is not None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Send more of the segment; the first frame begins one."""
        segment = self._segment
        if segment is not None and (segment.is_flushed or segment.is_cleared):
            self._finish(segment)  # LiveKit waits for each segment; were one forgotten, its turn would never end
            segment = None
        await super().capture_frame(frame)
        if segment is None:
            self._segment = segment = _Segment()
            self._timed.clear()
            self.on_playback_started(created_at=time.time())
        timed = [each for each in frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, ()) if isinstance(each, TimedString)]
        segment.is_timed |= bool(timed) and not segment.pieces
        if segment.is_timed:
            self._time(timed, segment.duration_s)
        self._advance(segment)
        self._send(segment, segment.held)
        segment.held = _mono(frame)
        segment.duration_s += frame.duration

    def flush(self) -> None:
        """The segment is made."""
        super().flush()
        segment = self._segment
        if segment is None or segment.is_flushed or segment.is_cleared:
            return
        segment.is_flushed = True
        rest = [text for text, _ in self._timed] if segment.is_timed else [self._texts.rest()]
        held, segment.held = segment.held, b""
        if (text := normal(" ".join(rest))) and self.exactly is None:
            self._begin(segment, text)
        self._timed.clear()
        self._send(segment, held)
        self._end_reply()
        if segment.pieces and segment.pieces[-1].is_silent:
            self._forget_silent(segment)
        if self.exactly is None:
            self.said = ""
        self.exactly = None
        self._progress(segment)

    def clear_buffer(self) -> None:
        """Cut the segment off: the session tells what of it was played."""
        segment = self._segment
        if segment is None or segment.is_cleared:
            return
        segment.is_cleared = True
        self.exactly, self.said = None, ""
        if any(not each.is_silent for each in segment.pieces):
            self._is_replying = False
            self._arm(_REPORT_WAIT_S)
            self._on_stop()
        else:
            self._finish(segment)

    def playback_finished(self, playback: PlaybackFinished) -> None:
        """Take the session's report about the oldest reply."""
        segment = self._segment
        if segment is None:
            return
        self._forget_silent(segment)
        if not segment.pieces:
            return
        segment.pieces.popleft()
        segment.finished.append((playback.text, playback.played_ms))
        self._forget_silent(segment)
        segment.is_cleared |= playback.is_interrupted
        self._progress(segment)

    def say_again(self, text: str) -> bool:
        """Say again what was lost on the way, from what is kept; `False` where that is something else."""
        segment = self._segment
        if segment is None or segment.is_cleared:
            return False
        self._forget_silent(segment)
        pieces = list(segment.pieces)
        for first in range(len(pieces)):
            lost = pieces[first:]
            if normal(" ".join(each.text for each in lost)) != normal(text):
                continue
            whole = _Piece(text, lost[0].start_s, False, bytearray().join(each.audio for each in lost))
            for each in pieces[:first]:
                segment.finished.append((each.text, self._ms(each)))
            segment.pieces = deque([whole])
            self._emit(Reply(text))
            self._is_replying = True
            self._emit_audio(bytes(whole.audio))
            if segment.is_flushed:
                self._end_reply()
                self._progress(segment)
            return True
        return False

    def ending(self) -> None:
        """Nothing of the caller follows."""
        self.is_ending = True
        if self._segment is not None:
            self._progress(self._segment)

    def close(self) -> None:
        """Let LiveKit wait for nothing."""
        if self._segment is not None:
            self._segment.is_cleared = True
            self._finish(self._segment)

    def _time(self, timed: list[TimedString], at_s: float) -> None:
        """Queue sentences with their beginning, of the words or sentences that text to speech gave times of."""
        for each in timed:
            start_s = each.start_time if isinstance(each.start_time, float | int) else at_s
            if self._timed and not self._timed[-1][0].rstrip().endswith((".", "!", "?")):
                text, began_s = self._timed.pop()
                joint = "" if text.endswith(" ") or str(each).startswith(" ") else " "
                self._timed.append((f"{text}{joint}{each}", began_s))
            elif normal(str(each)):
                self._timed.append((str(each), start_s))

    def _advance(self, segment: _Segment) -> None:
        """Begin the next sentence once the speech of the one before was made."""
        piece = segment.pieces[-1] if segment.pieces else None
        if self.exactly is not None:
            if piece is None:
                self._begin(segment, self.exactly)
            return
        if segment.is_timed:
            due: list[str] = []
            while self._timed and (not (segment.pieces or due) or self._timed[0][1] <= segment.duration_s + _EARLY_S):
                due.append(self._timed.popleft()[0])
            if due:
                self._begin(segment, normal(" ".join(due)))
            return
        made_s = segment.duration_s - (piece.start_s if piece else 0.0)
        if piece is None or made_s >= len(piece.text) / _CHARACTERS_PER_S:
            text = self._texts.sentence(is_wanted=piece is None)
            if text or piece is None:
                self._begin(segment, text)

    def _begin(self, segment: _Segment, text: str) -> None:
        self._send(segment, segment.held)
        segment.held = b""
        self._end_reply()
        is_silent = False
        if self.exactly is None:
            is_silent = bool(text) and (self.said == text or self.said.startswith(f"{text} "))
            self.said = self.said[len(text) :].strip() if is_silent else ""
        segment.pieces.append(_Piece(text, segment.duration_s, is_silent))
        if not is_silent:
            self._emit(Reply(text))
            self._is_replying = True

    def _send(self, segment: _Segment, pcm: bytes) -> None:
        segment.held = b""
        if not pcm or not segment.pieces or segment.is_cleared:
            return
        piece = segment.pieces[-1]
        piece.audio += pcm
        if not piece.is_silent:
            self._emit_audio(pcm)

    def _emit_audio(self, pcm: bytes) -> None:
        now = asyncio.get_running_loop().time()
        self._speech_until = max(self._speech_until, now) + len(pcm) / self._bytes_per_s
        self._emit(ReplyAudio(pcm))

    def _end_reply(self) -> None:
        if self._is_replying:
            self._is_replying = False
            self._emit(ReplyEnded())

    def _forget_silent(self, segment: _Segment) -> None:
        """What an earlier worker said counts as played, once what is before it was."""
        while segment.pieces and segment.pieces[0].is_silent and (len(segment.pieces) > 1 or segment.is_flushed):
            piece = segment.pieces.popleft()
            segment.finished.append((piece.text, self._ms(piece)))

    def _progress(self, segment: _Segment) -> None:
        """End the segment once all of it was played, or cut off."""
        is_made = segment.is_flushed or segment.is_cleared
        if self._segment is not segment or not is_made:
            return
        if not segment.pieces or (self.is_ending and not segment.is_cleared):
            self._finish(segment)
        elif not segment.is_cleared:
            left_s = max(0.0, self._speech_until - asyncio.get_running_loop().time())
            self._arm(left_s + self._grace_s)

    def _arm(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._waited)

    def _waited(self) -> None:
        """No report came in time: while the caller is away none can, and later what was lost is said again."""
        self._timer = None
        segment = self._segment
        if segment is None:
            return
        if segment.is_cleared or self.is_attached():
            self._finish(segment)
        else:
            self._arm(self._grace_s)

    def _finish(self, segment: _Segment) -> None:
        """Tell LiveKit, once; what was not reported counts as played, unless the segment was cut off."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._end_reply()
        self._segment = None
        if segment.is_cleared:
            played_s = sum(played_ms for _, played_ms in segment.finished) / 1000
            heard = normal(" ".join(text for text, _ in segment.finished))
            self.on_playback_finished(playback_position=played_s, interrupted=True, synchronized_transcript=heard)
        else:
            self.on_playback_finished(playback_position=segment.duration_s, interrupted=False)

    def _ms(self, piece: _Piece) -> int:
        return round(len(piece.audio) / self._bytes_per_s * 1000)


def _mono(frame: rtc.AudioFrame) -> bytes:
    if frame.num_channels == 1:
        return bytes(frame.data)
    samples = np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels)
    return samples.mean(axis=1).astype("<i2").tobytes()
