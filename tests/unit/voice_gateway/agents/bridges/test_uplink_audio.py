"""Where the caller's frames lie in a vendor's session."""

from __future__ import annotations

from voice_gateway.agent.base import UserAudio
from voice_gateway.agents.bridges.bridge.call.hearing.uplink_audio import UplinkAudio

FRAME = bytes(320)
BYTES_PER_MS = 16.0


def filled(frames: int) -> UplinkAudio:
    audio = UplinkAudio(BYTES_PER_MS, most_s=1.0)
    for sequence in range(frames):
        audio.push(UserAudio(sequence, FRAME))
    return audio


def test_a_position_names_the_frame_in_which_it_lies() -> None:
    audio = filled(5)
    assert [audio.first_at(ms) for ms in (0, 19, 20, 99)] == [0, 0, 1, 4]
    assert [audio.last_at(ms) for ms in (0, 1, 20, 21, 100)] == [-1, 0, 0, 1, 4]
    assert audio.last_at(None) == 4


def test_a_new_session_begins_with_the_oldest_frame_that_was_not_released() -> None:
    audio = filled(5)
    audio.release(2)
    assert len(list(audio.restart())) == 2
    assert audio.position_ms == 40
    assert (audio.first_at(0), audio.last_at(20), audio.last_at(40)) == (3, 3, 4)


def test_a_position_in_released_frames_names_the_nearest_one() -> None:
    audio = filled(5)
    audio.release(2)
    assert audio.first_at(10) == 3
    assert audio.last_at(10) == 2


def test_silence_behind_the_newest_frame_belongs_to_it() -> None:
    audio = filled(2)
    audio.pad(FRAME * 10)
    assert audio.last_at(200) == 1
    assert audio.position_ms == 240


def test_audio_beyond_what_is_kept_is_noticed() -> None:
    assert not filled(50).is_full
    assert filled(51).is_full
