"""Former names of events and reports work, and warn."""

from __future__ import annotations

import pytest

from voice_client import Acked, Flushed, Heard, Speech, SpeechEnded
from voice_client.call.report import failure


@pytest.mark.parametrize("event", [Speech(7, 1), SpeechEnded(7, 100), Flushed(7, 100)])
def test_generation_is_the_former_name_of_the_utterance_id(event: Speech | SpeechEnded | Flushed) -> None:
    with pytest.warns(DeprecationWarning, match="generation is deprecated: use utterance_id"):
        assert event.generation == event.utterance_id == 7


def test_heard_is_the_former_name_of_acked() -> None:
    assert isinstance(Acked(3), Heard)


def test_frames_heard_is_the_former_name_of_frames_acked() -> None:
    report = failure(ValueError("no"))
    with pytest.warns(DeprecationWarning, match="frames_heard is deprecated: use frames_acked"):
        assert report.frames_heard == report.frames_acked
    assert report.as_json()["frames_heard"] == report.as_json()["frames_acked"]


def test_a_former_name_warns_where_it_is_read() -> None:
    with pytest.warns(DeprecationWarning, match="generation") as warned:
        assert Flushed(7, 100).generation == 7
    assert [warning.filename for warning in warned] == [__file__]
