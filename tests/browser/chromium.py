"""A real Chromium, which listens to a recording in place of a microphone."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser.programs import CHROMIUM, missing, program

if TYPE_CHECKING:
    from playwright.async_api import Browser

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)


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


@contextmanager
def wrapped(executable: str, namespace: str) -> Iterator[str]:
    """A script that is Chromium in a network namespace."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "chromium"
        script.write_text(f'#!/bin/sh\nexec ip netns exec {namespace} {executable} "$@"\n')
        script.chmod(0o755)
        yield str(script)
