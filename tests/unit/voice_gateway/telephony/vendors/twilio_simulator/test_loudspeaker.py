from __future__ import annotations

from voice_gateway.telephony.vendors.twilio_simulator.loudspeaker import SILENCE, Loudspeaker


def test_a_mark_comes_back_once_what_is_before_it_was_played() -> None:
    speaker = Loudspeaker()
    speaker.media(b"a" * 200)
    speaker.mark("half")
    speaker.media(b"b" * 120)
    speaker.mark("end")
    assert speaker.advance(160) == []
    assert speaker.advance(160) == ["half", "end"]
    assert bytes(speaker.recording) == b"a" * 200 + b"b" * 120
    assert speaker.is_silent


def test_a_mark_behind_nothing_comes_back_at_once() -> None:
    speaker = Loudspeaker()
    speaker.mark("now")
    assert speaker.advance(160) == ["now"]
    assert bytes(speaker.recording) == SILENCE * 160


def test_a_clear_returns_all_marks_and_drops_the_audio() -> None:
    speaker = Loudspeaker()
    speaker.media(b"a" * 400)
    speaker.mark("1")
    speaker.media(b"b" * 400)
    speaker.mark("2")
    speaker.advance(160)
    assert speaker.clear() == ["1", "2"]
    assert speaker.advance(160) == []
    assert bytes(speaker.recording) == b"a" * 160 + SILENCE * 160
    assert speaker.played_bytes == 160
