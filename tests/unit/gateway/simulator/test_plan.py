from __future__ import annotations

import pytest

from gateway.simulator.plan import Plan, SimulationError, read_plan
from gateway.transport.twilio.twiml import EMPTY_RESPONSE, connect_stream

PAGE = "https://w/twiml"


def test_a_page_of_ours_is_read_as_it_was_written() -> None:
    document = connect_stream("wss://w/v1/twilio", {"agent": "order"}, "https://w/twiml?again=1").encode()
    assert read_plan(PAGE, document, {"x": "1"}) == Plan(
        "wss://w/v1/twilio", {"agent": "order", "x": "1"}, "https://w/twiml?again=1"
    )


def test_an_action_may_be_relative() -> None:
    document = b'<Response><Connect action="/twiml?again=1"><Stream url="wss://w/s"/></Connect></Response>'
    plan = read_plan(PAGE, document, {})
    assert plan is not None
    assert plan.action == "https://w/twiml?again=1"


def test_a_page_without_a_stream_ends_the_call() -> None:
    assert read_plan(PAGE, EMPTY_RESPONSE.encode(), {}) is None


def test_what_is_no_xml_is_an_error() -> None:
    with pytest.raises(SimulationError, match="no TwiML"):
        read_plan(PAGE, b"<html>", {})
