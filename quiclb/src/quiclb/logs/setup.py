"""Structured logs on standard error, of the load balancer and the gateway; `quiclb.logs.writer` writes them."""

from __future__ import annotations

import logging
import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TextIO

from quiclb.logs import writer as log_writer
from quiclb.logs.limits import DebugLimit

if TYPE_CHECKING:
    import structlog


class LogFormat(StrEnum):
    """`auto` is `console` on a terminal and `json` elsewhere."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


_deferred: list[tuple[LogFormat, str]] = []
"""Format and level to be set up at the first use: none or one."""


def configure_logging(
    log_format: LogFormat = LogFormat.AUTO, level: str = "info", stream: TextIO | None = None
) -> None:
    """Set structlog up for the whole process; call it once, in a composition root.

    Without a `stream`, lines go to standard error by `log_writer.install`: logging never raises and never blocks.
    """
    import structlog

    writer = log_writer.install() if stream is None else None
    target = stream or sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - None where it was closed at start
    is_console = log_format is LogFormat.CONSOLE or (log_format is LogFormat.AUTO and target.isatty())
    if writer is not None:
        writer.describe_loss = log_writer.console_loss if is_console else log_writer.json_loss
    renderer: structlog.typing.Processor
    if is_console:
        renderer = structlog.dev.ConsoleRenderer(colors=target.isatty())
    else:
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            DebugLimit(),
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_level_number(level)),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )


def log_level() -> str:
    """Return the level in force: `debug`, `info`, `warning` or `error`."""
    import structlog

    level: int = structlog.get_logger().get_effective_level()
    return logging.getLevelName(level).lower()


def set_log_level(level: str) -> None:
    """Change the level for all loggers that are not bound yet."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_level_number(level)))


def configure_logging_on_use(log_format: LogFormat, level: str) -> None:
    """As `configure_logging`, but when `get_logger` is first called: structlog takes long to load, and clients wait."""
    log_writer.install()
    _deferred[:] = [(log_format, level)]


def get_logger() -> Any:
    """structlog's logger, set up as asked for."""
    import structlog

    while _deferred:
        configure_logging(*_deferred.pop())
    return structlog.get_logger()


def log_debug(event: str, **facts: object) -> None:
    """Log a state change at debug level; structlog is not loaded where the level asked for hides the line."""
    if not (_deferred and _level_number(_deferred[0][1]) > logging.DEBUG):
        get_logger().debug(event, **facts)


def _level_number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
