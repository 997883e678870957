"""Whether the caller may be speaking, for vendors that say so late or not at all. Sans-IO.

Audio is then kept until its words are there: a vendor that is lost before that is given it again.
"""

from __future__ import annotations

from typing import Final

from voice_gateway.agent.base import AudioFormat
from voicelink.audio.codecs.g711 import pcmu_decode
from voicelink.audio.vad import EnergyVoiceActivity

_VOICE: Final = 0.5
_FRAME_MS: Final = 20
_WORDS_MS: Final = 8_000
"""Voice that gave no words so long after its end was noise."""
_LONGEST_MS: Final = 60_000
"""Voice without a pause for so long, and without words, is noise too."""


class SpeechLikely:
    """Follows the audio that a session is given. `words` says that a turn had its words."""

    def __init__(self, audio_format: AudioFormat, rate_hz: int) -> None:
        self._is_pcmu = audio_format is AudioFormat.PCMU
        self._activity = EnergyVoiceActivity(rate_hz)
        self._frame_bytes = rate_hz * _FRAME_MS // 1000 * 2
        self._rest = b""
        self._now_ms = 0
        self._began_ms: int | None = None
        self._voice_ms = 0

    @property
    def is_likely(self) -> bool:
        """Whether there was voice that may still give words."""
        if self._began_ms is None:
            return False
        return self._now_ms - self._voice_ms < _WORDS_MS and self._now_ms - self._began_ms < _LONGEST_MS

    def hear(self, audio: bytes) -> None:
        """Take the next audio."""
        pcm = self._rest + (pcmu_decode(audio) if self._is_pcmu else audio)
        whole = len(pcm) - len(pcm) % self._frame_bytes
        self._rest = pcm[whole:]
        for start in range(0, whole, self._frame_bytes):
            self._now_ms += _FRAME_MS
            if self._activity.probability(pcm[start : start + self._frame_bytes]) >= _VOICE:
                self.voice()

    def voice(self) -> None:
        """There is voice now: what the vendor noticed counts too."""
        if not self.is_likely:
            self._began_ms = self._now_ms
        self._voice_ms = self._now_ms

    def words(self) -> None:
        """The words of all that was heard are there."""
        self._began_ms = None
