"""qlog of single connections (draft-ietf-quic-qlog-main-schema), for a viewer such as qvis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from aioquic.quic.logger import QuicFileLogger, QuicLogger, QuicLoggerTrace

Qlog = Path | Callable[[dict[str, Any]], None]
"""A folder for one file, named by the original destination connection ID; or a function that takes the finished log."""


def qlog_logger(qlog: Qlog) -> QuicLogger:
    """Return what aioquic's connection logs to; raises `ValueError` for a folder that does not exist.

    A log is kept in memory until its connection ends. It holds addresses, connection IDs and tokens, and no payload.
    """
    return QuicFileLogger(str(qlog)) if isinstance(qlog, Path) else _CallbackLogger(qlog)


class _CallbackLogger(QuicLogger):
    def __init__(self, on_log: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._on_log = on_log

    def end_trace(self, trace: QuicLoggerTrace) -> None:
        self._on_log(self.to_dict())
        self._traces.remove(trace)
