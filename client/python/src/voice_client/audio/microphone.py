"""The computer's microphone and loudspeaker; the one file that imports sounddevice (extra `microphone`)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

from voice_client.audio.source import RATE_HZ
from voice_client.errors import SourceError
from voicelink.audio.resample import Resampler

_FALLBACK_RATE_HZ = 48_000
_MAX_BUFFERED_S = 0.3


class Microphone:
    """A live `Source`; it is opened when the first piece is asked for."""

    is_live = True

    def __init__(self, device: str | int | None = None) -> None:
        self._sounddevice = _sounddevice()
        self._device = device

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield 20 ms of PCM16 at 16 kHz as they are spoken, until the task is cancelled."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[bytes] = asyncio.Queue()

        def captured(data: Any, *_: object) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, bytes(data))

        stream, rate_hz = _open(self._sounddevice.RawInputStream, "microphone", RATE_HZ, captured, self._device)
        resampler = Resampler(rate_hz, RATE_HZ)
        with stream:
            while True:
                yield resampler.push(await pieces.get())


class Loudspeaker:
    """A `Sink`; raises `SourceError` where nothing can be played."""

    def __init__(self, rate_hz: int, device: str | int | None = None) -> None:
        self._buffer = bytearray()
        self._lock = threading.Lock()
        output = _sounddevice().RawOutputStream
        self._stream, self._rate_hz = _open(output, "loudspeaker", rate_hz, self._wanted, device)
        self._resampler = Resampler(rate_hz, self._rate_hz)
        self._stream.start()
        self.latency_s = float(self._stream.latency)

    def play(self, at_s: float, pcm: bytes) -> None:
        """Queue the sound; what would lag more than 0.3 s behind is dropped."""
        with self._lock:
            self._buffer += self._resampler.push(pcm)
            del self._buffer[: -round(_MAX_BUFFERED_S * self._rate_hz) * 2]

    def flush(self) -> None:
        """Fall silent."""
        with self._lock:
            self._buffer.clear()

    def close(self) -> None:
        """Release the device."""
        self._stream.close()

    def _wanted(self, out: Any, *_: object) -> None:
        with self._lock:
            chunk = bytes(self._buffer[: len(out)])
            del self._buffer[: len(out)]
        out[:] = chunk + bytes(len(out) - len(chunk))


def devices() -> list[tuple[str, int, int, bool]]:
    """(name, input channels, output channels, whether it is a default) of each sound device."""
    sounddevice = _sounddevice()
    defaults = set(sounddevice.default.device)
    return [
        (str(each["name"]), int(each["max_input_channels"]), int(each["max_output_channels"]), index in defaults)
        for index, each in enumerate(sounddevice.query_devices())
    ]


def _open(kind: Any, name: str, rate_hz: int, callback: Any, device: str | int | None) -> tuple[Any, int]:
    failure: Exception | None = None
    for rate in (rate_hz, _FALLBACK_RATE_HZ):
        try:
            stream = kind(
                samplerate=rate, blocksize=rate // 50, channels=1, dtype="int16", callback=callback, device=device
            )
        except Exception as error:  # PortAudioError or ValueError: either way, the device cannot be had
            failure = failure or error
        else:
            return stream, rate
    raise SourceError(f"cannot open the {name}: {failure}")


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise SourceError("sound devices need an extra: pip install 'voice-client[microphone]'") from None
    except OSError:
        raise SourceError("sound devices need the PortAudio library: apt-get install libportaudio2") from None
    return sounddevice
