"""The recorded calls in the admin interface: as JSON, as sound, and as a page that shows and plays them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from voice_gateway.errors import GatewayError
from voice_gateway.ops.admin.operations import JSON, Operation, RequestRefused
from voice_gateway.recording.library.library import UnknownCall
from voice_gateway.recording.library.reader_process import CallForm, CallReader
from voice_gateway.web.server import StreamedResponse, WebRequest, WebResponse

MOST_LISTED: Final = 1_000
_HTML: Final = "text/html; charset=utf-8"
_ASSETS: Final = {"calls.js": "text/javascript; charset=utf-8", "calls.css": "text/css; charset=utf-8"}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "media-src 'self' blob:; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


class CallOperations:
    """`operations` on the recordings that `reader` reads; `files` are those of the page, by name."""

    def __init__(self, reader: CallReader, files: Callable[[], Mapping[str, bytes]]) -> None:
        self._reader = reader
        self._files = files

    def operations(self) -> tuple[Operation, ...]:
        """Return them for the admin interface's table."""
        one = "/calls/{call}"
        return (
            Operation("GET", "/calls", "The page that lists recorded calls.", self._page, media_type=_HTML),
            Operation("GET", one, "The page of one recorded call.", self._page, media_type=_HTML),
            Operation("GET", "/calls-page/{file}", "What the page is made of.", self._asset, media_type="text/plain"),
            Operation(
                "GET",
                "/recordings",
                "The recorded calls, newest first.",
                self._list,
                query={"most": f"How many; 100 unless given, {MOST_LISTED} at most."},
            ),
            Operation(
                "GET", "/recordings/{call}", "A call's turns, answers, gaps, incidents and waveforms.", self._show
            ),
            Operation(
                "GET",
                "/recordings/{call}/audio.ogg",
                "Both tracks, the caller left and the agent right, in Opus.",
                lambda request: self._sound(request, CallForm.OGG, "audio/ogg"),
                media_type="audio/ogg",
            ),
            Operation(
                "GET",
                "/recordings/{call}/audio.wav",
                "The same sample by sample, at 24 kHz.",
                lambda request: self._sound(request, CallForm.WAV, "audio/wav"),
                media_type="audio/wav",
            ),
        )

    def _page(self, request: WebRequest) -> WebResponse:
        page = self._files().get("calls.html")
        if page is None:
            return WebResponse(
                HTTPStatus.SERVICE_UNAVAILABLE, "this gateway was installed without its pages: run `make web`\n"
            )
        return WebResponse(HTTPStatus.OK, content_type=_HTML, headers=_HEADERS, content=page)

    def _asset(self, request: WebRequest) -> WebResponse:
        name = request.parameters["file"]
        content = self._files().get(name) if name in _ASSETS else None
        if content is None:
            raise RequestRefused(HTTPStatus.NOT_FOUND, "the page has no such file")
        return WebResponse(HTTPStatus.OK, content_type=_ASSETS[name], content=content)

    async def _list(self, request: WebRequest) -> StreamedResponse:
        given = parse_qs(request.query).get("most", ["100"])[0]
        if not re.fullmatch("[0-9]{1,4}", given) or not 1 <= int(given) <= MOST_LISTED:
            raise RequestRefused(HTTPStatus.BAD_REQUEST, f"most is a number from 1 to {MOST_LISTED}")
        return await self._read(given, CallForm.LIST, JSON)

    async def _show(self, request: WebRequest) -> StreamedResponse:
        return await self._read(request.parameters["call"], CallForm.PEAKS, JSON)

    async def _sound(self, request: WebRequest, form: CallForm, media_type: str) -> StreamedResponse:
        return await self._read(request.parameters["call"], form, media_type)

    async def _read(self, session_id: str, form: CallForm, media_type: str) -> StreamedResponse:
        try:
            content = await self._reader.read(session_id, form)
        except UnknownCall as error:
            raise RequestRefused(HTTPStatus.NOT_FOUND, str(error)) from None
        except GatewayError as error:
            raise RequestRefused(HTTPStatus.BAD_GATEWAY, str(error)) from None
        headers = {"Content-Length": str(content.length)}
        return StreamedResponse(HTTPStatus.OK, content.pieces, media_type, headers)
