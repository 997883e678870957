"""The page as a person uses it, and what can be seen of it; each of its error messages fails the test."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

from tests.browser.sound import Sound

if TYPE_CHECKING:
    from playwright.async_api import Browser, ConsoleMessage, Page, Route

HERE = Path(__file__).parent
AXE = HERE.parents[1] / "client" / "web" / "node_modules" / "axe-core" / "axe.min.js"
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SHOTS = HERE.parents[1] / "build" / "screenshots"


class VoicePage:
    """A page of the gateway in a tab of its own; `faults` is what it complained of at the console or threw."""

    def __init__(self, page: Page, expected: str | None) -> None:
        self.page = page
        self.faults: list[str] = []
        self._expected = re.compile(expected) if expected else None
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))

    async def call(self) -> None:
        """Press the button, by the keyboard, and return once the call is answered."""
        await self.page.get_by_role("button", name="Call", exact=True).press("Enter")
        await self.phase("talking", 40.0)

    async def hang_up(self) -> dict[str, Any]:
        """Press it again, and return how the call ended: frames sent, frames acked, and whether it was finished."""
        await self.page.get_by_role("button", name="Hang up").click()
        await self.phase("ended")
        return dict(await self.ask("observed.ended"))

    async def phase(self, phase: str, timeout_s: float = 20.0) -> None:
        await self.page.locator(f'body[data-phase="{phase}"]').wait_for(timeout=timeout_s * 1000)

    async def until(self, expression: str, timeout_s: float = 20.0) -> None:
        """Wait until a JavaScript expression is true, asked for from here: the page's policy forbids it to evaluate."""
        async with asyncio.timeout(timeout_s):
            while not await self.ask(f"Boolean({expression})"):  # noqa: ASYNC110 - the page has no event for it
                await asyncio.sleep(0.02)

    async def happened(self, kind: str) -> None:
        """Wait until the library has emitted an event of this type."""
        try:
            await self.until(f"observed.events.some((event) => event.type === {json.dumps(kind)})")
        except TimeoutError:
            pytest.fail(f"no event {kind}; the line: {await self.page.locator('#history').inner_text()}")

    async def noticed(self, pattern: str) -> None:
        """Wait until a notice has been shown that matches the regular expression, which JavaScript has to know."""
        try:
            await self.until(f"observed.notices.some((notice) => new RegExp({json.dumps(pattern)}).test(notice))")
        except TimeoutError:
            pytest.fail(f"no notice {pattern!r}; there were: {await self.ask('observed.notices')}")

    async def at_speech(self, seconds: float) -> None:
        """Wait until the microphone has played so much of its recording."""
        await self.until(
            f"observed.microphoneAt !== null && performance.now() > observed.microphoneAt + {seconds * 1000}"
        )

    async def ask(self, expression: str) -> Any:
        return await self.page.evaluate(expression)

    async def events(self, kind: str) -> list[dict[str, Any]]:
        return list(await self.ask(f"observed.events.filter((event) => event.type === {json.dumps(kind)})"))

    async def items(self, count: int = 0, timeout_s: float = 20.0) -> list[str]:
        """The lines of the receipt, once there are so many, or what there is when the time is up."""
        with suppress(TimeoutError):
            await self.until(f"document.querySelectorAll('#items .item').length >= {count}", timeout_s)
        lines = await self.page.locator("#items .item").all_inner_texts()
        return [" | ".join(line.split("\n")) for line in lines]

    async def text(self, part: str) -> str:
        return await self.page.locator(f"#{part}").inner_text()

    async def sound(self) -> Sound:
        """All that left for the loudspeaker so far."""
        return await self._sound("observed.played()")

    async def microphone(self) -> Sound:
        """All that the microphone gave to the page so far."""
        return await self._sound("observed.captured()")

    async def _sound(self, expression: str) -> Sound:
        recorded = await self.ask(expression)
        samples = np.frombuffer(base64.b64decode(recorded["samples"]), "<i2")
        return Sound(recorded["first"] / recorded["rate"], recorded["rate"], samples)

    async def photograph(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)

    async def barriers(self) -> list[str]:
        """What axe-core finds in the way of people who see, hear or move differently, in light and in dark."""
        found: list[str] = []
        await self.ask(AXE.read_text())
        for scheme in SCHEMES:
            await self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            violations = await self.ask("axe.run().then(({ violations }) => violations)")
            found += [f"{scheme}: {each['id']}: {node['html']}" for each in violations for node in each["nodes"]]
        await self.page.emulate_media(color_scheme="light")
        return found

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not (self._expected and self._expected.search(message.text)):
            self.faults.append(f"{message.type}: {message.text}")


@asynccontextmanager
async def opened(
    browser: Browser,
    url: str,
    *,
    expected: str | None = None,
    config: dict[str, Any] | None = None,
    called: str | None = None,
    permissions: Sequence[str] = (),
    is_recorded: bool = False,
) -> AsyncIterator[VoicePage]:
    """Open the page; `config` replaces parts of config.json, `called` is a `host:port` it calls instead.

    `expected` is what the console may say. With `is_recorded` the sound is kept for `VoicePage.sound`.

    Fails at the end where the page complained of anything else.
    """
    tab = await browser.new_context(viewport={"width": 1100, "height": 900})
    if permissions:
        await tab.grant_permissions(list(permissions))
    page = await tab.new_page()
    voice_page = VoicePage(page, expected)
    recorder = (HERE / "recorder.js").read_text() if is_recorded else ""
    await page.add_init_script(f"const RECORDER = {json.dumps(recorder)};\n" + (HERE / "observer.js").read_text())
    if is_recorded:
        # a page that comes by way of this process counts as one from the internet
        await tab.grant_permissions(["microphone", "local-network-access"])
        await page.route(url, admit_recorder)
    if called is not None:
        config = {"voice_url": f"https://{called}/v1/voice"} | (config or {})
        await page.route(url, lambda route: redirect(route, called))
    if config is not None:
        await page.route("**/config.json", lambda route: replace_config(route, config))
    try:
        await page.goto(url)
        await voice_page.until("globalThis.voicePage !== undefined", 10.0)
        yield voice_page
        if voice_page.faults:
            pytest.fail("\n".join(voice_page.faults))
    finally:
        await tab.close()


async def replace_config(route: Route, config: dict[str, Any]) -> None:
    response = await route.fetch()
    await route.fulfill(response=response, json=await response.json() | config)


async def redirect(route: Route, called: str) -> None:
    """Let the page call another address than its policy says."""
    response = await route.fetch()
    headers = dict(response.headers)
    headers["content-security-policy"] += f" https://{called}"
    await route.fulfill(response=response, headers=headers)


async def admit_recorder(route: Route) -> None:
    """Let the page run the recorder, which its policy would forbid."""
    response = await route.fetch()
    headers = dict(response.headers)
    headers["content-security-policy"] = headers["content-security-policy"].replace(
        "script-src 'self'", "script-src 'self' blob:"
    )
    await route.fulfill(response=response, headers=headers)
