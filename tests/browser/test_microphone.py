"""Whether losses of Chromium's microphone are distinguished from losses of a call."""

from __future__ import annotations

import numpy as np
import pytest

from deploy.local.scenario import middle_of
from tests.browser.microphone import TRIES, MicrophoneError, until_the_microphone_works, words_in
from tests.browser.page_testbed import lacking
from tests.browser.recordings import CALLER, RATE_HZ, Part, samples_of
from tests.browser.sound import Sound

pytestmark = pytest.mark.asyncio


async def test_what_the_microphone_lost_is_missing_from_its_words() -> None:
    samples = np.frombuffer(samples_of(Part(CALLER)), "<i2")
    assert lacking(await words_in(Sound(0.0, RATE_HZ, samples))) == []
    taro = round(middle_of("taro") * RATE_HZ)
    cut = np.concatenate((samples[: taro - RATE_HZ // 5], samples[taro + RATE_HZ // 5 :]))
    assert "taro" in lacking(await words_in(Sound(0.0, RATE_HZ, cut)))


async def test_a_call_is_made_again_only_where_the_microphone_failed() -> None:
    calls = 0

    @until_the_microphone_works
    async def fails_once(error: Exception) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise error

    await fails_once(MicrophoneError())
    assert calls == 2
    calls = 0
    with pytest.raises(AssertionError):
        await fails_once(AssertionError())
    assert calls == 1


async def test_a_microphone_that_never_works_fails_the_test() -> None:
    calls = 0

    @until_the_microphone_works
    async def fails() -> None:
        nonlocal calls
        calls += 1
        raise MicrophoneError

    with pytest.raises(pytest.fail.Exception, match="microphone lost speech"):
        await fails()
    assert calls == TRIES
