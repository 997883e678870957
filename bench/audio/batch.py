"""The same conversion for many sessions in one product, as a worker could do if their frames came at one time."""

from __future__ import annotations

from math import gcd

import numpy as np

from voicelink.audio.resample import filter_bank


class BatchResampler:
    """Converts a frame of each of `sessions` at once; the same samples as `Resampler` gives, session by session."""

    def __init__(self, source_hz: int, target_hz: int, sessions: int) -> None:
        divisor = gcd(source_hz, target_hz)
        self._down = source_hz // divisor
        self._bank = filter_bank(target_hz // divisor, self._down)
        self._history = np.zeros((sessions, len(self._bank) - self._down), np.float32)

    def push(self, frames: list[bytes]) -> list[bytes]:
        """Take a frame of each session, all of one length that is a multiple of the ratio's block."""
        width, sessions = len(self._bank), len(frames)
        new = np.frombuffer(b"".join(frames), "<i2").reshape(sessions, -1).astype(np.float32)
        samples = np.concatenate((self._history, new), axis=1)
        self._history = samples[:, new.shape[1] :].copy()
        windows = np.lib.stride_tricks.sliding_window_view(samples, width, axis=1)[:, :: self._down]
        output = np.ascontiguousarray(windows).reshape(-1, width) @ self._bank
        pcm = np.clip(np.rint(output), -32_768, 32_767).astype("<i2").reshape(sessions, -1)
        return [bytes(row) for row in pcm]
