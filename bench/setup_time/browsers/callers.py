"""A browser at the caller's end of a link, and the calls that it places, each from a page that is already loaded."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import importlib.util
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.peers.timing import CallTimes
from bench.peers.ways import Way
from bench.setup_time.browsers.serving import served
from deploy.local.cluster import ROOT
from testbed.browsers import firefox
from testbed.browsers.chromium import ARGUMENTS, wrapped
from testbed.browsers.programs import CHROMIUM, FIREFOX, find
from testbed.link import SERVER, EmulatedLink, Namespace
from voice_gateway.certificates.development import DevelopmentCertificate

LIBRARY: Final = ROOT / "client" / "web" / "dist" / "voice-client.js"
_PAGE: Final = Path(__file__).with_name("page.html")
_SCRIPT: Final = Path(__file__).with_name("page.js")
_CALL_S: Final = 30.0
_LOADED: Final = (
    "new Promise((done) => { (function look() { globalThis.isLoaded ? done(true) : setTimeout(look, 5); })(); })"
)

Evaluate = Callable[[str], Awaitable[Any]]
"""Runs an expression in a page, and returns what its promise comes to."""
OpenPage = Callable[[str], AbstractAsyncContextManager[Evaluate]]
"""A page of its own at this URL; connections of pages before are not used again."""


def missing(browser: str) -> str | None:
    """Why this browser cannot place calls here."""
    if not LIBRARY.exists():
        return "the browser library is not built: make web"
    return missing_program(browser)


def missing_program(browser: str) -> str | None:
    """Why this browser cannot be started here."""
    if find(CHROMIUM if browser == "chromium" else FIREFOX) is None:
        return f"there is no {browser} on this machine"
    if browser == "chromium" and importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed: pip install --require-hashes -r locks/browser.lock"
    return None


@functools.cache
def version(browser: str) -> str:
    """What the browser says it is, such as "Chromium 156.0"."""
    program = find(CHROMIUM if browser == "chromium" else FIREFOX)
    assert program is not None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return said.strip().partition(" built")[0]


async def calls_in_browser(link: EmulatedLink, way: Way, files: DevelopmentCertificate, count: int) -> list[CallTimes]:
    """Place so many calls, one after the other, each from a new page."""
    opened = chromium if way.browser == "chromium" else _firefox
    calls = []
    with served(link.caller, _PAGE, _SCRIPT, LIBRARY) as url:
        async with opened(link.caller, files) as open_page:
            for _ in range(count):
                async with open_page(url) as evaluate:
                    await loaded(evaluate)
                    clock = time.time() - time.monotonic()
                    found = await asyncio.wait_for(evaluate(_call(way, files)), _CALL_S)
                    times = {name: at / 1000 - clock for name, at in found.items()}
                    calls.append(CallTimes(times["began"], times["connected"], times["back"]))
    return calls


async def loaded(evaluate: Evaluate) -> None:
    """Return once the page's script has run."""
    await evaluate(_LOADED)


def _call(way: Way, files: DevelopmentCertificate) -> str:
    is_warm = str(way.is_warm).lower()
    if way.kind == "webrtc":
        return f'callByOffer("https://{SERVER}:{way.port}/?script=setup&call=" + Math.random(), {is_warm}, false)'
    if way.kind == "smallwebrtc":
        return f'callByOffer("https://{SERVER}:{way.port}/api/offer", {is_warm}, true)'
    return f'callGateway("https://{SERVER}:{way.port}/v1/voice", "{files.sha256.hex()}")'


@asynccontextmanager
async def chromium(inside: Namespace, files: DevelopmentCertificate) -> AsyncIterator[OpenPage]:
    """A Chromium in that namespace that trusts this certificate."""
    from playwright.async_api import async_playwright  # not everywhere: see `missing`

    program = find(CHROMIUM)
    assert program is not None
    trusting = f"--ignore-certificate-errors-spki-list={_key_hash(files)}"
    with wrapped(program, inside.name) as executable:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=executable, args=[*ARGUMENTS, trusting])

            @asynccontextmanager
            async def open_page(url: str) -> AsyncIterator[Evaluate]:
                context = await browser.new_context()
                try:
                    page = await context.new_page()
                    await page.goto(url)
                    yield page.evaluate
                finally:
                    await context.close()

            try:
                yield open_page
            finally:
                await browser.close()


def _key_hash(files: DevelopmentCertificate) -> str:
    """What Chromium takes the server's key by: without it the first TLS handshake fails, and another follows."""
    key = x509.load_pem_x509_certificate(files.leaf.read_bytes()).public_key()
    data = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


@asynccontextmanager
async def _firefox(inside: Namespace, _: DevelopmentCertificate) -> AsyncIterator[OpenPage]:
    program = find(FIREFOX)
    assert program is not None
    async with firefox.browsing(program, inside) as tab:

        @asynccontextmanager
        async def open_page(url: str) -> AsyncIterator[Evaluate]:
            await tab.visit(url)
            yield tab.evaluate

        yield open_page
