"""Delay, loss and jitter under load: the arithmetic and the table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.capacity.generator import Handshakes, Quantiles
from bench.capacity.jitter import Jitter
from bench.capacity.runs.handshakes import Handshaking
from bench.capacity.runs.survey import Survey
from bench.capacity.under_load import under_load
from tests.unit.bench.capacity.test_figures import CALLERS, GOOD, SERVER, WINDOW

SURVEY = Survey(SERVER, 0, (WINDOW,), None, WINDOW, Handshaking(Handshakes(1.0, 1, 0, "", 0.1, GOOD), 0.1), None)


def test_jitter_is_the_running_mean_deviation_of_rfc_3550() -> None:
    jitter = Jitter()
    assert [jitter.came(each) for each in (5.0, 5.0, 21.0, 5.0)] == pytest.approx([0.0, 0.0, 1.0, 1.0 + 15 / 16])


def test_a_server_has_a_row_with_few_sessions_and_one_under_load() -> None:
    callers = replace(CALLERS, sessions=30, frames_received=950, jitter_ms=Quantiles(900, 0.4, 2.5, 3.0))
    text = under_load([replace(SURVEY, loaded=replace(WINDOW, callers=callers))])
    few, loaded = (line for line in text.splitlines() if " / " in line and "ms" not in line)
    assert few == "| a server | 10 | 100 | 1.0 / 3.0 | 0.00 | 1.00 / 3.00 | 3.0 |"
    assert loaded == "|  | 30 | 100 | 1.0 / 3.0 | 5.00 | 0.40 / 2.50 | 3.0 |"


def test_what_a_server_does_not_take_or_does_not_echo_is_said_or_left_out() -> None:
    assert "| too many |" in under_load([SURVEY])
    assert "| a server" not in under_load([replace(SURVEY, server=replace(SERVER, has_echo=False))])
