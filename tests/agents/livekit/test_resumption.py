"""What a LiveKit call says after a gap, besides what the model answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from voice_gateway.agents.livekit.call.resumption import Resumption

QUESTION = "What did you say last?"
SESSION: Any = object()
"""Only passed on."""


class Said:
    """Records what is said in place of `Speeches`."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def say(self, _session: object, text: str) -> None:
        self.texts.append(text)


def resumption(said: Said, *, is_pending: bool, question: str = QUESTION) -> Resumption:
    progress: Any = SimpleNamespace(is_pending=is_pending)
    speeches: Any = said
    output: Any = SimpleNamespace()
    return Resumption(progress, speeches, output, question)


@pytest.mark.parametrize(("is_pending", "texts"), [(False, [QUESTION]), (True, [])])
def test_a_running_session_asks_for_what_was_lost_unless_an_answer_is_due(is_pending: bool, texts: list[str]) -> None:
    said = Said()
    resumption(said, is_pending=is_pending).ask(SESSION)
    assert said.texts == texts


def test_a_session_that_starts_asks_once_it_runs() -> None:
    said = Said()
    call = resumption(said, is_pending=False)
    call.ask(None)
    assert said.texts == []
    call.begin_late(SESSION)
    call.begin_late(SESSION)
    assert said.texts == [QUESTION]


def test_without_a_question_the_call_goes_on_in_silence() -> None:
    said = Said()
    resumption(said, is_pending=False, question="").ask(SESSION)
    assert said.texts == []
