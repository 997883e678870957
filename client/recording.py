"""Writes what was played to a WAV file, pauses included."""

from __future__ import annotations

from pathlib import Path

from client.errors import SourceError
from client.wav import wav_header


class Recording:
    """A `Sink` that begins with the first sound; the file is complete after `close`."""

    def __init__(self, path: str | Path, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._began_at_s: float | None = None
        self._samples = 0
        try:
            self._file = Path(path).open("wb")  # noqa: SIM115 - open for the whole call
        except OSError as error:
            raise SourceError(f"cannot write {path}: {error.strerror or error}") from None
        self._file.write(wav_header(rate_hz, 0))

    def play(self, at_s: float, pcm: bytes) -> None:
        """Append the sound where it belongs in time."""
        if self._began_at_s is None:
            self._began_at_s = at_s
        due = round((at_s - self._began_at_s) * self._rate_hz)
        pause = max(0, due - self._samples)
        self._file.write(bytes(pause * 2))
        self._file.write(pcm)
        self._samples += pause + len(pcm) // 2

    def flush(self) -> None:
        """What was recorded was played."""

    def close(self) -> None:
        """Write the length into the header."""
        if not self._file.closed:
            self._file.seek(0)
            self._file.write(wav_header(self._rate_hz, self._samples * 2))
            self._file.close()
