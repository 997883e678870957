from __future__ import annotations

import io
import json

import pytest
import structlog

from quiclb.logs import setup
from quiclb.logs.setup import LogFormat, configure_logging, log_debug


@pytest.fixture(autouse=True)
def _restore():
    yield
    structlog.reset_defaults()


def test_json_lines_hold_the_event_and_its_keys():
    stream = io.StringIO()
    configure_logging(LogFormat.JSON, "info", stream)
    structlog.get_logger().info("load balancer started", vip="192.0.2.1:443")
    structlog.get_logger().debug("not shown")
    [line] = stream.getvalue().splitlines()
    assert (
        json.loads(line).items() >= {"event": "load balancer started", "vip": "192.0.2.1:443", "level": "info"}.items()
    )


def test_console_is_for_people():
    stream = io.StringIO()
    configure_logging(LogFormat.CONSOLE, "info", stream)
    structlog.get_logger().info("load balancer started")
    assert "load balancer started" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_auto_is_json_without_a_terminal():
    stream = io.StringIO()
    configure_logging(LogFormat.AUTO, "info", stream)
    structlog.get_logger().info("x")
    assert json.loads(stream.getvalue())["event"] == "x"


@pytest.mark.parametrize(("level", "is_set_up"), [("info", False), ("WARNING", False), ("debug", True)])
def test_a_debug_line_sets_logging_up_only_where_it_is_shown(level, is_set_up, monkeypatch):
    """Loading structlog takes long, and clients wait while a load balancer starts again."""
    monkeypatch.setattr(setup, "_deferred", [(LogFormat.JSON, level)])
    set_up = []
    monkeypatch.setattr(setup, "configure_logging", lambda log_format, level: set_up.append(level))
    log_debug("backend added", backend="b1")
    assert set_up == ([level] if is_set_up else [])
