from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from client.access_token import AccessToken, token_file
from client.errors import AccessRefused, InvalidSetting


async def test_one_token_for_all_connections():
    assert await AccessToken("sesame").headers() == {"authorization": "Bearer sesame"}
    assert await AccessToken(None).headers() == {}


@pytest.mark.parametrize("token", ["", "two words", "sésame", "line\n"])
def test_what_cannot_be_a_token_is_refused_at_once(token):
    with pytest.raises(InvalidSetting, match="printable ASCII") as refused:
        AccessToken(token)
    assert not token.strip() or token not in str(refused.value)


async def test_a_source_is_asked_each_time():
    tokens = iter(["first", "second"])
    token = AccessToken(lambda: next(tokens))
    assert await token.headers() == {"authorization": "Bearer first"}
    assert await token.headers() == {"authorization": "Bearer second"}


async def test_a_source_may_wait():
    async def ask() -> str:
        await asyncio.sleep(0)
        return "fresh"

    assert await AccessToken(ask).headers() == {"authorization": "Bearer fresh"}


async def test_an_attempt_that_is_given_up_leaves_its_question_to_the_next():
    asked: list[asyncio.Future[str]] = []

    def ask() -> asyncio.Future[str]:
        asked.append(asyncio.get_running_loop().create_future())
        return asked[-1]

    token = AccessToken(ask)
    first = asyncio.create_task(token.headers())
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.create_task(token.headers())
    await asyncio.sleep(0)
    assert len(asked) == 1
    asked[0].set_result("late")
    assert await second == {"authorization": "Bearer late"}
    third = asyncio.create_task(token.headers())
    await asyncio.sleep(0)
    assert len(asked) == 2
    asked[1].set_result("new")
    await third


@pytest.mark.parametrize("failure", [KeyError("sesame"), InvalidSetting("cannot read the token file")])
async def test_a_source_that_fails_is_one_sentence_and_can_be_asked_again(failure):
    answers = [failure, "two words", "good"]

    async def ask() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    token = AccessToken(ask)
    for _ in range(2):
        with pytest.raises(AccessRefused, match="there is no access token") as refused:
            await token.headers()
        assert "sesame" not in str(refused.value)
        assert "two words" not in str(refused.value)
    assert await token.headers() == {"authorization": "Bearer good"}


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidSetting, match=r"none: No such file"):
        token_file(tmp_path / "none")
    with pytest.raises(InvalidSetting, match="not ASCII"):
        token_file(tmp_path / "binary")
