from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from voice_client.audio.playback import Playback
from voice_client.audio.player import Player
from voice_client.audio.recording import Recording
from voice_client.errors import SourceError

RATE_HZ = 24_000


class Failing:
    """A sink whose disk is full from its `last`th piece on."""

    def __init__(self, last: int) -> None:
        self.left = last
        self.is_closed = False

    def play(self, at_s: float, pcm: bytes) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        raise RuntimeError("flushed after it failed")

    def close(self) -> None:
        self.is_closed = True
        raise OSError(errno.ENOSPC, "No space left on device")


class RecordingSink:
    def __init__(self) -> None:
        self.pcm = b""

    def play(self, at_s: float, pcm: bytes) -> None:
        self.pcm += pcm

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


async def test_a_sink_that_fails_is_taken_out_once_and_the_others_play_on():
    playback, failing, recording, failures = Playback(RATE_HZ), Failing(2), RecordingSink(), []
    speech = bytes(range(1, 241)) * 8  # 40 ms
    finished = asyncio.Event()
    player = Player(
        playback,
        lambda position, at: finished.set() if position.is_complete else None,
        lambda utterance_id, at: None,
        [failing, recording],
        lambda sink, error: failures.append((sink, error)),
    )
    playback.begin(1)
    for _ in range(3):
        playback.push(1, speech)
    playback.end(1)
    player.wake()
    await asyncio.wait_for(finished.wait(), 10)
    player.flush()
    player.close()
    assert recording.pcm == speech * 3
    assert [(sink, type(error)) for sink, error in failures] == [(failing, OSError)]
    assert failing.is_closed


def test_a_recording_on_a_full_disk_is_one_sentence():
    with pytest.raises(SourceError, match=r"^cannot write /dev/full: no space left on device$"):
        Recording("/dev/full", RATE_HZ)


def test_a_recording_that_cannot_go_on_holds_what_came_before(tmp_path: Path):
    from voicelink.audio.wav import parse_wav

    recording = Recording(tmp_path / "out.wav", RATE_HZ)
    recording.play(0.0, bytes(960))
    recording._file = _FullAfter(recording._file)  # type: ignore[assignment]  # what a recording calls of a file
    with pytest.raises(SourceError, match="no space left on device"):
        recording.play(0.02, bytes(960))
    recording.close()
    assert len(parse_wav((tmp_path / "out.wav").read_bytes()).samples) == 480


class _FullAfter:
    """A file whose disk is full: what is there may be written over."""

    def __init__(self, file) -> None:
        self._file = file
        self._is_at_start = False

    def write(self, data) -> int:
        if not self._is_at_start:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._file.write(data)

    def seek(self, offset: int) -> None:
        self._is_at_start = True
        self._file.seek(offset)

    def __getattr__(self, name: str):
        return getattr(self._file, name)
