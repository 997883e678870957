"""qlog of single connections (draft-ietf-quic-qlog-main-schema), for a viewer such as qvis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aioquic.h3.events import Headers
from aioquic.quic.logger import QuicFileLogger, QuicLogger, QuicLoggerTrace
from aioquic.quic.packet import QuicTransportParameters

Qlog = Path | Callable[[dict[str, Any]], None]
"""A folder for one file, named by the original destination connection ID; or a function that takes the finished log."""

MAX_EVENTS: Final = 20_000
"""Of one connection, some 100 s of a voice call: about 20 MB of memory until it ends. Later ones are not logged."""
_HIDDEN: Final = "hidden"
_SECRET_HEADERS: Final = frozenset({b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"})


def qlog_logger(qlog: Qlog) -> QuicLogger:
    """Return what aioquic's connection logs to; raises `ValueError` for a folder that does not exist.

    A log is kept in memory until its connection ends, its first `MAX_EVENTS` events. It holds addresses and connection
    IDs, and no payload, address token, reset token or HTTP credentials.
    """
    return _FileLogger(str(qlog)) if isinstance(qlog, Path) else _CallbackLogger(qlog)


class _Trace(QuicLoggerTrace):
    """Bounded, and without secrets: aioquic's own has no limit, and logs tokens and header values as they are."""

    def log_event(self, *, category: str, event: str, data: dict[str, Any]) -> None:
        if len(self._events) < MAX_EVENTS:
            super().log_event(category=category, event=event, data=data)

    def encode_new_token_frame(self, token: bytes) -> dict[str, Any]:
        return super().encode_new_token_frame(token) | {"token": _HIDDEN}

    def encode_new_connection_id_frame(
        self, connection_id: bytes, retire_prior_to: int, sequence_number: int, stateless_reset_token: bytes
    ) -> dict[str, Any]:
        frame = super().encode_new_connection_id_frame(
            connection_id, retire_prior_to, sequence_number, stateless_reset_token
        )
        return frame | {"reset_token": _HIDDEN}

    def encode_transport_parameters(self, owner: str, parameters: QuicTransportParameters) -> dict[str, Any]:
        data = super().encode_transport_parameters(owner, parameters)
        return data | {"stateless_reset_token": _HIDDEN} if "stateless_reset_token" in data else data

    def encode_http3_headers_frame(self, length: int, headers: Headers, stream_id: int) -> dict[str, Any]:
        return super().encode_http3_headers_frame(length, [_without_secret(*each) for each in headers], stream_id)


class _FileLogger(QuicFileLogger):
    def start_trace(self, is_client: bool, odcid: bytes) -> QuicLoggerTrace:
        return _started(self, is_client, odcid)


class _CallbackLogger(QuicLogger):
    def __init__(self, on_log: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._on_log = on_log

    def start_trace(self, is_client: bool, odcid: bytes) -> QuicLoggerTrace:
        return _started(self, is_client, odcid)

    def end_trace(self, trace: QuicLoggerTrace) -> None:
        self._on_log(self.to_dict())
        self._traces.remove(trace)


def _started(logger: QuicLogger, is_client: bool, odcid: bytes) -> QuicLoggerTrace:
    trace = _Trace(is_client=is_client, odcid=odcid)
    logger._traces.append(trace)
    return trace


def _without_secret(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name == b":path":  # its query may hold an access token
        value = value.partition(b"?")[0]
    elif name in _SECRET_HEADERS:
        value = _HIDDEN.encode()
    # aioquic decodes both, and would raise for what is no UTF-8
    return _as_utf8(name), _as_utf8(value)


def _as_utf8(data: bytes) -> bytes:
    return data.decode(errors="backslashreplace").encode()
