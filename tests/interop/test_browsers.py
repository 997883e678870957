"""Real browsers place an order through a script written from PROTOCOL.md: `caller.js`, without our library."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import http.server
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from testbed.browsers import firefox
from testbed.browsers.programs import FIREFOX as FIREFOX_NAMES
from tests.browser import chromium
from tests.browser.programs import program
from tests.interop.worker import ORDER, WorkerTestbed, first_item, recording, working
from voicelink.h3.session.dialect import SERVER_SETTINGS, Dialect, Terms, terms

Evaluate = Callable[[str], Awaitable[Any]]
"""Runs an expression in a page, and returns what its promise comes to."""

PAGE = '<!doctype html><link rel="icon" href="data:,"><script src="caller.js"></script>'
SCRIPT = Path(__file__).parent / "caller.js"
FRAMES = 333
"""20 ms each of the recording."""

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


@asynccontextmanager
async def in_chromium(page: str, *features: str) -> AsyncIterator[Evaluate]:
    async with chromium.browsing(None, features=features) as browser:
        tab = await browser.new_page()
        await tab.goto(page)
        yield tab.evaluate


@asynccontextmanager
async def in_firefox(page: str) -> AsyncIterator[Evaluate]:
    async with firefox.browsing(program(FIREFOX_NAMES)) as tab:
        await tab.visit(page)
        yield tab.evaluate


@dataclass(frozen=True, slots=True)
class BrowserCase:
    """A browser, and the dialect it chooses of those that the server offers."""

    browsing: Callable[[str], AbstractAsyncContextManager[Evaluate]]
    dialect: Dialect


CHROMIUM = BrowserCase(in_chromium, Dialect.DRAFT_02)
FIREFOX = BrowserCase(in_firefox, Dialect.DRAFT_02)
CHROMIUM_07 = BrowserCase(lambda page: in_chromium(page, "EnableWebTransportDraft07"), Dialect.DRAFT_07)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def testbed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WorkerTestbed]:
    async with working(tmp_path_factory.mktemp("worker")) as testbed:
        yield testbed


@contextmanager
def page(folder: Path) -> Iterator[str]:
    """The URL of a page that has the script and the recording."""
    (folder / "index.html").write_text(
        '<!doctype html><link rel="icon" href="data:,"><script src="caller.js"></script>'
    )
    (folder / "caller.js").write_bytes(SCRIPT.read_bytes())
    recording(folder / "recording.pcm")
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{serving.server_port}/index.html"
    finally:
        serving.shutdown()
        serving.server_close()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


def calling(testbed: WorkerTestbed) -> str:
    leaf = (testbed.folder / "leaf.pem").read_text().partition("-----END CERTIFICATE-----")
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf[0] + leaf[1])).hexdigest()
    return f'call("{testbed.url}", "{digest}", "recording.pcm")'


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[Dialect]:
    """The dialects of the sessions that are asked for."""
    dialects: list[Dialect] = []

    def noting(settings: dict[int, int], protocol: str) -> Terms:
        agreed = terms(settings, protocol)
        dialects.append(agreed.dialect)
        return agreed

    monkeypatch.setattr("voicelink.h3.webtransport.terms", noting)
    return dialects


@pytest.mark.parametrize("case", [CHROMIUM, CHROMIUM_07, FIREFOX], ids=["chromium", "chromium-07", "firefox"])
async def test_an_order_is_placed(
    case: BrowserCase, testbed: WorkerTestbed, tmp_path: Path, spoken: list[Dialect]
) -> None:
    with page(tmp_path) as url:
        async with case.browsing(url) as evaluate:
            did = await evaluate(calling(testbed))
    assert first_item(did["state"]) == ORDER
    assert (did["ready"], did["sent"], did["byeFrames"], did["closed"]) == (1, FRAMES, FRAMES, 0)
    assert did["answers"] >= 1
    assert did["spoken"] > 32_000
    assert spoken == [case.dialect]


@pytest.mark.parametrize("case", [CHROMIUM, FIREFOX], ids=["chromium", "firefox"])
async def test_a_server_without_webtransport_is_refused(
    case: BrowserCase, testbed: WorkerTestbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoken: list[Dialect]
) -> None:
    """The negative control."""
    monkeypatch.setattr("voicelink.h3.http3.SERVER_SETTINGS", dict.fromkeys(SERVER_SETTINGS, 0))
    with page(tmp_path) as url:
        async with case.browsing(url) as evaluate:
            with pytest.raises(Exception, match=r"WebTransport|connection"):
                await asyncio.wait_for(evaluate(calling(testbed)), 30.0)
    assert spoken == []
