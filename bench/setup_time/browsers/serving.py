"""A page and its files on the loopback of a network namespace: a secure context without TLS."""

from __future__ import annotations

import functools
import http.server
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.link import Namespace


@contextmanager
def served(inside: Namespace, page: Path, *files: Path) -> Iterator[str]:
    """The page's URL for a browser in that namespace; the files are beside it."""
    with tempfile.TemporaryDirectory() as folder:
        for file in (page, *files):
            shutil.copy(file, folder)
        server = _Server(inside.socket(socket.SOCK_STREAM), functools.partial(_Quiet, directory=folder))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{page.name}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Server(http.server.ThreadingHTTPServer):
    def __init__(self, sock: socket.socket, handler: functools.partial[_Quiet]) -> None:
        super().__init__(("127.0.0.1", 0), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self.server_bind()
        self.server_activate()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""
