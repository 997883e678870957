from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from voice_client.access_token import AccessToken, token_file
from voice_client.errors import AccessRefused, InvalidSetting


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


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "none: no such file or directory$"),
        ("sesame".encode("utf-16"), "none: is UTF-16; save it as UTF-8$"),
        (b"\xe4", "none: is not UTF-8 text"),
        ("sésame".encode(), "printable ASCII characters"),
        (b"", "printable ASCII characters"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, content: bytes | None, sentence: str):
    if content is not None:
        (tmp_path / "none").write_bytes(content)
    with pytest.raises(InvalidSetting, match=sentence):
        token_file(tmp_path / "none")


def test_a_byte_order_mark_is_no_part_of_a_token(tmp_path: Path):
    (tmp_path / "token").write_bytes(b"\xef\xbb\xbfsesame\r\n")
    assert token_file(tmp_path / "token") == "sesame"
