"""Where in a call's audio the pipeline's frames of text belong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipecat.frames.frames import Frame, TTSTextFrame

from voice_gateway.agents.pipecat.transport.output.playback_timeline import PlaybackTimeline


class TextPositions:
    """Words have a time since their context of speech began; other frames follow all audio so far.

    `clock` is the pipeline's, in nanoseconds; positions are seconds on the `timeline`.
    """

    def __init__(self, timeline: PlaybackTimeline[Any], clock: Callable[[], int]) -> None:
        self._timeline = timeline
        self._clock = clock
        self._begun: dict[str | None, tuple[int, float]] = {}
        self._last_pts = 0

    def begin(self, context_id: str | None) -> tuple[int, float]:
        """Return the clock's time and the position at which a context of speech begins: now, unless it has."""
        now = max(self._clock(), self._last_pts)
        return self._begun.setdefault(context_id, (now, self._timeline.made_s))

    def of(self, frame: Frame) -> float:
        """Return where the frame belongs; 0 is at once, behind those that wait already."""
        if not frame.pts or not isinstance(frame, TTSTextFrame):
            return 0.0 if frame.pts else self._timeline.made_s
        clock, at_s = self.begin(frame.context_id)
        self._last_pts = max(self._last_pts, frame.pts)
        since: int = max(0, frame.pts - clock)
        return at_s + since / 1e9

    def cut(self) -> None:
        """What follows is of new contexts."""
        self._begun.clear()
        self._last_pts = 0
