"""Which frames are acknowledged, by what LiveKit tells of voice activity and transcripts."""

from __future__ import annotations

from voice_gateway.agents.livekit.call.uplink import Uplink


def read(uplink: Uplink, frames: range) -> list[int]:
    """Let LiveKit read frames of 20 ms; return what silence released."""
    released = (uplink.read(sequence, 20.0) for sequence in frames)
    return [each for each in released if each is not None]


def test_silence_is_released_a_second_late_and_twice_a_second() -> None:
    assert read(Uplink(), range(125)) == [0, 25, 50]


def test_speech_is_released_with_its_turn() -> None:
    uplink = Uplink()
    read(uplink, range(100))
    began = uplink.started()
    assert uplink.through < began <= 100 - 25
    assert read(uplink, range(100, 200)) == []
    uplink.stopped()
    assert read(uplink, range(200, 250)) == []
    uplink.transcribed("a taro")
    assert read(uplink, range(250, 300)) == []
    assert uplink.committed("a taro") == 199


def test_a_turn_of_several_transcripts_takes_them_all() -> None:
    uplink = Uplink()
    for n, text in enumerate(["a taro", "and a matcha"]):
        read(uplink, range(n * 100, n * 100 + 50))
        uplink.started()
        read(uplink, range(n * 100 + 50, n * 100 + 100))
        uplink.stopped()
        uplink.transcribed(text)
    assert uplink.committed("a taro and a matcha") == 199
    assert not uplink.has_transcripts


def test_a_turn_leaves_the_frames_of_the_next_one() -> None:
    uplink = Uplink()
    uplink.started()
    read(uplink, range(50))
    uplink.stopped()
    uplink.transcribed("a taro")
    read(uplink, range(50, 60))
    uplink.started()
    read(uplink, range(60, 100))
    assert uplink.committed("a taro") == 49


def test_noise_is_released_after_the_wait_for_a_transcript() -> None:
    uplink = Uplink()
    uplink.started()
    read(uplink, range(50))
    uplink.stopped()
    assert read(uplink, range(50, 440)) == []
    assert read(uplink, range(440, 500))


def test_a_turn_that_the_agent_dropped_is_released_after_half_a_minute() -> None:
    uplink = Uplink()
    uplink.started()
    read(uplink, range(50))
    uplink.stopped()
    uplink.transcribed("a taro")
    assert read(uplink, range(50, 1_540)) == []
    assert read(uplink, range(1_540, 1_600))


def test_a_text_that_the_agent_changed_takes_all_that_was_transcribed() -> None:
    uplink = Uplink()
    uplink.started()
    read(uplink, range(50))
    uplink.stopped()
    uplink.transcribed("a taro")
    assert uplink.committed("one taro milk tea") == 49


def test_a_key_of_the_telephone_takes_no_frames_of_speech() -> None:
    uplink = Uplink()
    read(uplink, range(10))
    uplink.started()
    read(uplink, range(10, 20))
    assert uplink.committed("7") == -1
