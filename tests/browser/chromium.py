"""A real Chromium, which listens to a recording in place of a microphone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.browsers.chromium import ARGUMENTS, wrapped
from testbed.browsers.programs import CHROMIUM
from tests.browser.programs import missing, program

if TYPE_CHECKING:
    from playwright.async_api import Browser


@asynccontextmanager
async def browsing(
    recording: Path | None,
    *,
    is_allowed: bool = True,
    inside: str | None = None,
    trusted: str | None = None,
    features: Sequence[str] = (),
) -> AsyncIterator[Browser]:
    """A browser whose microphone plays `recording` from the moment a page asks for it, or that has none.

    Pages may use it where `is_allowed`. `inside` names a network namespace to run the browser in, `trusted` an origin
    that may use the microphone without TLS, `features` what Chromium would not do by itself.
    """
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        missing("Playwright is not installed: make unit does it, or pip install --require-hashes -r locks/browser.lock")
    arguments: Sequence[str] = ARGUMENTS
    if recording is not None:
        arguments = (
            *ARGUMENTS,
            "--use-fake-device-for-media-stream",
            *(["--use-fake-ui-for-media-stream"] if is_allowed else []),
            f"--use-file-for-fake-audio-capture={recording}%noloop",
        )
    if trusted is not None:
        arguments = (*arguments, f"--unsafely-treat-insecure-origin-as-secure={trusted}")
    if features:
        arguments = (*arguments, f"--enable-features={','.join(features)}")
    async with async_playwright() as playwright, AsyncExitStack() as stack:
        executable = program(CHROMIUM)
        if inside is not None:
            executable = stack.enter_context(wrapped(executable, inside))
        browser = await playwright.chromium.launch(executable_path=executable, args=list(arguments))
        try:
            yield browser
        finally:
            await browser.close()
