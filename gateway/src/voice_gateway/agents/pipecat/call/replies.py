"""What the pipeline says, as the session's replies, and what of them the caller has played."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from voice_gateway.agent.base import Emit, PlaybackFinished, Reply, ReplyAudio, ReplyEnded, StopReply
from voice_gateway.agent.call.waiting import Changes
from voice_gateway.agents.pipecat.transport.output.playback_timeline import PlaybackTimeline


class PipelineReplies:
    """Emits the pipeline's audio, and says replies again that were lost with a connection or a worker."""

    def __init__(self, emit: Emit, timeline: PlaybackTimeline[Any], changes: Changes) -> None:
        self.is_attached: Callable[[], bool] = lambda: True
        """Whether the session has its client, which reports what it plays."""
        self.wanted_again: str | None = None
        """What the session asked to say again and was not found here: the next reply that begins it has this text."""
        self._emit = emit
        self._timeline = timeline
        self._changes = changes

    def begin(self, text: str) -> None:
        """The pipeline says something new, or begins with what is wanted again."""
        again, self.wanted_again = self.wanted_again, None
        if again is not None and text and (again == text or again.startswith(f"{text} ")):
            text = again
        self._emit(Reply(text))

    def audio(self, pcm: bytes) -> None:
        self._emit(ReplyAudio(pcm))

    def end(self) -> None:
        self._emit(ReplyEnded())

    def interrupting(self, *, is_user: bool) -> None:
        """Nothing more is made of what is being said; a user's voice stops it by itself."""
        self.wanted_again = None
        if not is_user:
            self._emit(StopReply())

    def played(self, played_ms: int) -> None:
        """So much of the oldest reply was played."""
        self._timeline.played(played_ms)
        self._changes.notify()

    def playback_finished(self, playback: PlaybackFinished) -> None:
        """The oldest reply was played to its end, or cut off."""
        reply = self._timeline.finished(playback.played_ms, is_interrupted=playback.is_interrupted)
        if reply is not None and playback.is_interrupted and self._timeline.cut_text is None:
            self._timeline.cut_text = playback.text
        self._changes.notify()

    def say_again(self, text: str) -> bool:
        """Emit the audio of these replies again; where it went with another worker, `False`: synthesise them."""
        reply = self._timeline.again(text)
        if reply is None:
            self.wanted_again = text
            return False
        self._emit(Reply(text))
        if reply.audio:
            self._emit(ReplyAudio(bytes(reply.audio)))
        if reply.is_ended:
            self._emit(ReplyEnded())
        self._changes.notify()
        return True
