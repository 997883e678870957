"""Drains the playback buffer at the pace of a loudspeaker, whether or not there is one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, runtime_checkable

from voice_client.audio.playback import Playback, Position
from voicelink.audio.frames import FRAME_S


class Sink(Protocol):
    """Takes what is played, PCM16 mono at 24 kHz: a loudspeaker, a recording. One that raises is closed and left."""

    def play(self, at_s: float, pcm: bytes) -> None:
        """Play up to 20 ms, on the event loop's clock due at `at_s`; returns at once."""

    def flush(self) -> None:
        """Drop what has not left the loudspeaker yet."""

    def close(self) -> None:
        """No more follows."""


@runtime_checkable
class Delayed(Protocol):
    """What a sink may be besides: one whose sound leaves the loudspeaker `latency_s` after it was due."""

    latency_s: float


class Player:
    """Plays in real time, in steps of 20 ms without drift, as long as there is speech."""

    def __init__(
        self,
        playback: Playback,
        report: Callable[[Position, float | None], None],
        audible: Callable[[int, float], None],
        sinks: Sequence[Sink],
        sink_failed: Callable[[Sink, Exception], None],
    ) -> None:
        self._playback = playback
        self._report = report
        self._audible = audible
        self._sinks = list(sinks)
        self._sink_failed = sink_failed
        self._latency_s = max((sink.latency_s for sink in sinks if isinstance(sink, Delayed)), default=0.0)
        self._loop = asyncio.get_running_loop()
        self._samples = round(playback.rate_hz * FRAME_S)
        self._tick_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Begin to play, unless that is going on; call it after every change of the buffer."""
        if self._timer is None and self._playback.is_active:
            self._tick_at = self._loop.time()
            self._timer = self._loop.call_at(self._tick_at, self._tick)

    def reached_at(self, position: Position) -> float | None:
        """When the loudspeaker reaches a position just taken, by the event loop's clock; at most 20 ms from now."""
        return self._tick_at + self._latency_s - position.ago_samples / self._playback.rate_hz

    def flush(self) -> float:
        """Silence the sinks at once, and return when that takes effect; the buffer is the caller's to flush."""
        self._each(lambda sink: sink.flush())
        return self._loop.time() + self._latency_s

    def close(self) -> None:
        """Stop playing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._each(lambda sink: sink.close())

    def _each(self, act: Callable[[Sink], None]) -> None:
        """Do it with every sink; one that fails must end neither the call nor what the others play."""
        for sink in tuple(self._sinks):
            try:
                act(sink)
            except Exception as error:  # the application's own
                self._sinks.remove(sink)
                with suppress(Exception):
                    sink.close()
                self._sink_failed(sink, error)

    def _tick(self) -> None:
        self._timer = None
        for position in self._playback.take_positions():
            self._report(position, self.reached_at(position))
        pcm = self._playback.pull(self._samples)
        for utterance_id in self._playback.take_audible():
            self._audible(utterance_id, self._tick_at + self._latency_s)
        if pcm:
            self._each(lambda sink: sink.play(self._tick_at, pcm))
        if self._playback.is_active:
            self._tick_at += FRAME_S
            self._timer = self._loop.call_at(self._tick_at, self._tick)


class InstantPlayer:
    """For callers without playback: speech counts as played as soon as all of an utterance has arrived."""

    def __init__(
        self,
        playback: Playback,
        report: Callable[[Position, float | None], None],
        audible: Callable[[int, float], None],
    ) -> None:
        self._playback = playback
        self._report = report
        self._audible = audible
        self._loop = asyncio.get_running_loop()

    def wake(self) -> None:
        """Take all there is."""
        self._playback.pull(self._playback.buffered_samples)
        for utterance_id in self._playback.take_audible():
            self._audible(utterance_id, self._loop.time())
        for position in self._playback.take_positions():
            self._report(position, None)

    def reached_at(self, position: Position) -> float | None:
        """Nothing is played in real time."""
        return None

    def flush(self) -> float:
        """Nothing is queued for a loudspeaker."""
        return self._loop.time()

    def close(self) -> None:
        """Nothing to stop."""
