"""Writes what was played to a WAV file, pauses included."""

from __future__ import annotations

from pathlib import Path

from voice_client.errors import SourceError
from voicelink.audio.wav import wav_header


class Recording:
    """A `Sink` that begins with the first sound; the file is complete after `close`.

    Raises `SourceError` where nothing can be written; a file whose disk is full by then holds what came before.
    """

    def __init__(self, path: str | Path, rate_hz: int) -> None:
        self._path = path
        self._rate_hz = rate_hz
        self._began_at_s: float | None = None
        self._samples = 0
        try:
            self._file = Path(path).open("wb", buffering=0)  # noqa: SIM115 - open for the whole call
        except OSError as error:
            raise self._failure(error) from None
        try:
            self._write(wav_header(rate_hz, 0))
        except SourceError:
            self._file.close()
            raise

    def play(self, at_s: float, pcm: bytes) -> None:
        """Append the sound where it belongs in time."""
        if self._began_at_s is None:
            self._began_at_s = at_s
        due = round((at_s - self._began_at_s) * self._rate_hz)
        pause = max(0, due - self._samples)
        self._write(bytes(pause * 2))
        self._write(pcm)
        self._samples += pause + len(pcm) // 2

    def flush(self) -> None:
        """What was recorded was played."""

    def close(self) -> None:
        """Write the length into the header, unless the file is a pipe."""
        if self._file.closed:
            return
        try:
            if self._file.seekable():
                self._file.seek(0)
                self._write(wav_header(self._rate_hz, self._samples * 2))
        finally:
            self._file.close()

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError) -> SourceError:
        return SourceError(f"cannot write {self._path}: {(error.strerror or str(error)).lower()}")
