"""Files from memory."""

from __future__ import annotations

import gzip
from http import HTTPStatus

import pytest

from voice_gateway.web.assets import asset_pages
from voice_gateway.web.server import WebRequest, WebResponse

SCRIPT = b"let x = 1;\n" * 40


def ask(path: str, **headers: str) -> WebResponse:
    pages = asset_pages({"index.html": b"<!doctype html>", "page.js": SCRIPT}, lambda request: {"X-Mine": "yes"})
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return pages[path](WebRequest("GET", path, names, "192.0.2.1:5"))


def test_the_index_is_at_the_root_as_well() -> None:
    assert ask("/").content == ask("/index.html").content == b"<!doctype html>"
    assert ask("/").content_type == "text/html; charset=utf-8"


def test_nothing_else_is_served() -> None:
    assert set(asset_pages({"index.html": b""}, lambda request: {})) == {"/", "/index.html"}


def test_a_file_of_an_unknown_kind_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match=r"leaf\.key: files of this kind are not served"):
        asset_pages({"leaf.key": b""}, lambda request: {})


def test_a_browser_that_has_the_file_is_told_so() -> None:
    first = ask("/page.js")
    again = ask("/page.js", if_none_match=f'"other", {first.headers["ETag"]}')
    assert again.status is HTTPStatus.NOT_MODIFIED
    assert again.headers["ETag"] == first.headers["ETag"]
    assert not again.content
    assert ask("/page.js", if_none_match='"other"').status is HTTPStatus.OK


def test_packed_for_those_who_unpack() -> None:
    packed = ask("/page.js", accept_encoding="br, gzip;q=0.9")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.content is not None
    assert gzip.decompress(packed.content) == SCRIPT
    assert ask("/page.js").content == SCRIPT
    assert ask("/page.js").headers["Vary"] == "Accept-Encoding"


def test_what_would_grow_is_sent_plain() -> None:
    assert "Content-Encoding" not in ask("/", accept_encoding="gzip").headers


def test_every_answer_carries_the_headers() -> None:
    tag = ask("/").headers["ETag"]
    for answer in (ask("/"), ask("/", if_none_match=tag)):
        assert answer.headers["X-Mine"] == "yes"
