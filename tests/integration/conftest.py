"""The tests' own process logs from info up, as the daemons do.

With `VOICE_TEST_LOG_SINK` in the environment it logs all, and there, as to /dev/full.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import TextIO, cast

import pytest
import structlog

from quiclb.logs.setup import LogFormat, configure_logging
from quiclb.logs.writer import LogWriter, StandardError, json_loss


@pytest.fixture(autouse=True)
def _log_sink() -> Iterator[None]:
    sink = os.environ.get("VOICE_TEST_LOG_SINK")
    if sink is None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
        yield
        structlog.reset_defaults()
        return
    fd = os.open(sink, os.O_WRONLY)
    writer = LogWriter(fd, json_loss, retry_s=0.01, max_pending_bytes=256)
    configure_logging(LogFormat.JSON, "debug", cast(TextIO, StandardError(writer, fd, is_terminal=False)))
    yield
    structlog.reset_defaults()
