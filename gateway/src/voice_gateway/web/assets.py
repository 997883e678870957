"""The files of a page, served from memory; no path reaches the file system."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Final

from voice_gateway.web.server import Page, WebRequest, WebResponse

INDEX: Final = "index.html"


def asset_pages(files: Mapping[str, bytes], headers: Callable[[WebRequest], Mapping[str, str]]) -> dict[str, Page]:
    """Return a page for each file, by `/` and its name; `index.html` is at `/` as well.

    Browsers keep the files and ask each time whether they are still good (`ETag`), so that a new release shows at once.
    `headers` says what else an answer carries. A file of a kind that is not known here raises `ValueError`.
    """
    assets = {f"/{name}": _Asset.of(name, data) for name, data in files.items()}
    if f"/{INDEX}" in assets:
        assets["/"] = assets[f"/{INDEX}"]
    return {path: partial(_answer, asset, headers) for path, asset in assets.items()}


@dataclass(frozen=True, slots=True)
class _Asset:
    content_type: str
    tag: str
    plain: bytes
    packed: bytes

    @classmethod
    def of(cls, name: str, data: bytes) -> _Asset:
        content_type = _CONTENT_TYPES.get(PurePosixPath(name).suffix)
        if content_type is None:
            raise ValueError(f"{name}: files of this kind are not served")
        tag = f'"{hashlib.sha256(data).hexdigest()[:20]}"'
        return cls(content_type, tag, data, gzip.compress(data, mtime=0))


def _answer(asset: _Asset, headers: Callable[[WebRequest], Mapping[str, str]], request: WebRequest) -> WebResponse:
    carried = {"Cache-Control": "no-cache", "ETag": asset.tag, "Vary": "Accept-Encoding", **headers(request)}
    if asset.tag in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
        return WebResponse(HTTPStatus.NOT_MODIFIED, content_type=asset.content_type, headers=carried)
    accepted = {coding.partition(";")[0].strip() for coding in request.headers.get("accept-encoding", "").split(",")}
    if "gzip" in accepted and len(asset.packed) < len(asset.plain):
        carried["Content-Encoding"] = "gzip"
        return WebResponse(HTTPStatus.OK, content_type=asset.content_type, headers=carried, content=asset.packed)
    return WebResponse(HTTPStatus.OK, content_type=asset.content_type, headers=carried, content=asset.plain)


_CONTENT_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".map": "application/json",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
