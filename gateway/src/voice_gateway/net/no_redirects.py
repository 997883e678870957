"""Clients that follow no redirect: its target, which no operator named, would get keys and callers' words."""

from __future__ import annotations

from urllib.request import HTTPRedirectHandler, OpenerDirector, build_opener

from websockets.asyncio.client import connect


class ConnectDirectly(connect):
    """`websockets.connect` to which a redirect is a refusal."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object, **_keywords: object) -> None:
        return None


def direct_opener() -> OpenerDirector:
    """Return an opener of URLs to which a redirect is an `HTTPError`."""
    return build_opener(_NoRedirects)
