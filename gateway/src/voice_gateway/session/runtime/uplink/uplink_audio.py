"""Decodes the uplink frames of one session, within the rate limit of their playing time."""

from __future__ import annotations

from collections.abc import Callable

from voice_gateway.access.uplink_limits import MediaRateLimiter
from voice_gateway.session.core.speech.agent_audio import AgentAudio
from voice_gateway.session.runtime.connection.attachment import Attachment
from voice_gateway.session.runtime.uplink.backlog import UplinkScheduler
from voicelink.wire import AudioFrame, Malformed


class UplinkAudio:
    """Turns frames, in their order, into the agent's `audio` format; `clock` is the event loop's.

    The rate limit outlives connections and gaps. A session that `has_resumed` here may bring more at once.
    """

    def __init__(
        self,
        audio: AgentAudio,
        scheduler: UplinkScheduler,
        attachment: Attachment,
        clock: Callable[[], float],
        *,
        has_resumed: bool,
    ) -> None:
        self._audio = audio
        self._scheduler = scheduler
        self._attachment = attachment
        self._clock = clock
        self._decoder = audio.decoder()
        self._bytes_per_s = audio.input_rate_hz * audio.sample_bytes
        self._rate_limiter = MediaRateLimiter(clock(), has_resumed=has_resumed)

    def restart(self) -> None:
        """Decode what follows as a new stream."""
        self._decoder = self._audio.decoder()

    def decode(self, frame: AudioFrame) -> bytes | Malformed:
        """Return the frame's audio behind the silence before it, or the fault: it is malformed, or more than may come.

        Runs for each frame.
        """
        audio = self._decoder.decode(frame)
        if isinstance(audio, Malformed):
            return audio
        audio_s = len(audio) / self._bytes_per_s
        self._scheduler.spent(audio_s)
        exceeded = self._rate_limiter.take(audio_s, self._clock())
        if exceeded is not None:
            return self._attachment.connection.rate_limiter.fault(exceeded)
        return audio
