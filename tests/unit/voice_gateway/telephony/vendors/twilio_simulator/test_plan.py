from __future__ import annotations

import socket
import threading

import pytest

from voice_gateway.telephony.vendors.twilio import EMPTY_RESPONSE, connect_stream
from voice_gateway.telephony.vendors.twilio_simulator.plan import Plan, SimulationError, check_url, fetch, read_plan

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


@pytest.mark.parametrize(
    "url", ["https://w/twiml", "http://127.0.0.1:8443/twiml", "wss://bücher.test./s", "ws://[::1]:1/"]
)
def test_urls_of_pages_and_streams_stay_as_they_are(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://a..b/twiml", "labels of 1 to 63"),
        (f"https://{'a' * 64}/", "labels of 1 to 63"),
        ("https://w:0/twiml", "port must be 1 to 65535"),
        ("https://w:99999/", "must look like name:443"),
        ("https:///twiml", "must look like name:443"),
        ("ftp://w/", "begins with https://"),
        ("w:8443/twiml", "begins with https://"),
        ("https://w/a b", "neither spaces nor control characters"),
    ],
)
def test_other_urls_are_named_wherever_they_come_from(url: str, message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        check_url(url)
    stream = f'<Response><Connect><Stream url="{url}"/></Connect></Response>'
    with pytest.raises(SimulationError, match=message):
        read_plan(PAGE, stream.encode(), {})


def test_a_server_that_speaks_no_http_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=_answer, args=(server, b"\x16\x03\x01\r\n\r\n"))
        answering.start()
        with pytest.raises(SimulationError, match=r"127\.0\.0\.1"):
            fetch(f"http://127.0.0.1:{server.getsockname()[1]}/", {}, lambda url, form: {}, None)
        answering.join()


def _answer(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(answer)
