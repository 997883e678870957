"""Webhooks are signed, tried again with growing pauses, and bounded."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from voice_gateway.webhooks.schedule import LONGEST_DELAY_S, Schedule
from voice_gateway.webhooks.sender import WebhookOptions, WebhookSender
from voice_gateway.webhooks.signing import TOLERANCE_S, is_genuine, signed_headers, signing_key

NOW = 1_790_000_000.0


def test_a_signature_is_that_of_standard_webhooks() -> None:
    """The example of its specification."""
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_only_what_was_signed_lately_with_the_key_is_genuine() -> None:
    key, body = signing_key("a secret of at least 24 characters"), b"{}"
    headers = signed_headers(key, "msg_1", int(NOW), body)
    assert is_genuine(key, headers, body, NOW)
    assert not is_genuine(key, headers, b"{ }", NOW)
    assert not is_genuine(b"another", headers, body, NOW)
    assert not is_genuine(key, headers, body, NOW + TOLERANCE_S + 1)
    assert not is_genuine(key, headers | {"webhook-id": "msg_2"}, body, NOW)
    assert not is_genuine(key, {}, body, NOW)


def _schedule(most: int = 3, attempts: int = 4) -> Schedule:
    return Schedule(most, attempts, random.Random(1))


def test_a_failed_notification_comes_again_later_and_later_until_it_is_given_up() -> None:
    schedule, now, pauses = _schedule(), 0.0, []
    schedule.add("msg_1", "http://a", b"", now)
    while (notification := schedule.take(now)) is not None:
        schedule.failed(notification, now)
        if schedule.due_at is not None:
            pauses.append(schedule.due_at - now)
            now = schedule.due_at
    assert [round(pause, 0) for pause in pauses] == [1, 2, 4]
    assert (schedule.counters.retried, schedule.counters.given_up) == (3, 1)


def test_a_receiver_that_asks_for_time_gets_it_within_reason() -> None:
    schedule = _schedule()
    for asked_s, least_s in ((60.0, 60.0), (1e9, LONGEST_DELAY_S)):
        schedule.add("msg_1", "http://a", b"", 0.0)
        notification = schedule.take(0.0)
        assert notification is not None
        schedule.failed(notification, 0.0, retry_after_s=asked_s)
        assert schedule.due_at == least_s
        assert schedule.take(least_s) is notification


def test_the_oldest_notification_gives_way_to_a_new_one() -> None:
    schedule = _schedule(most=2)
    for number in range(4):
        schedule.add(f"msg_{number}", "http://a", b"", 0.0)
    assert schedule.counters.dropped == 2
    kept = [schedule.take(0.0) for _ in range(2)]
    assert [each.notification_id for each in kept if each is not None] == ["msg_2", "msg_3"]


class Receiver:
    """Answers with each of `statuses` in turn, then with the last."""

    def __init__(self, statuses: list[int]) -> None:
        self.statuses = statuses
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with receiver.arrived:
                    receiver.received.append(({k.lower(): v for k, v in self.headers.items()}, body))
                    receiver.arrived.notify_all()
                status = receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0]
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/calls"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def wait(self, count: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.received) >= count, 10)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    made = Receiver(list(request.param))
    yield made
    made.close()


def _sender(url: str, attempts: int = 3) -> WebhookSender:
    options = WebhookOptions((url,), b"key", frozenset({"call.started"}), attempts, 5.0)
    return WebhookSender(options, clock=lambda: NOW, new_id=lambda: "1", rng=random.Random(1))


@pytest.mark.parametrize("receiver", [(204,)], indirect=True)
def test_an_event_that_is_wanted_arrives_signed(receiver: Receiver) -> None:
    sender = _sender(receiver.url)
    sender.start()
    sender.notify("call.ended", {"session": "s"})
    sender.notify("call.started", {"session": "s"})
    receiver.wait(1)
    sender.stop()
    (headers, body), *others = receiver.received
    assert others == []
    assert is_genuine(b"key", headers, body, NOW)
    assert json.loads(body) == {
        "type": "call.started",
        "timestamp": "2026-09-21T14:13:20.000Z",
        "data": {"session": "s"},
    }
    assert sender.counters.delivered == 1


@pytest.mark.parametrize("receiver", [(500, 204), (302, 204)], indirect=True)
def test_a_refusal_or_a_redirect_is_tried_again_with_the_same_id(receiver: Receiver) -> None:
    sender = _sender(receiver.url)
    sender.start()
    sender.notify("call.started", {})
    receiver.wait(2)
    sender.stop()
    assert {headers["webhook-id"] for headers, _ in receiver.received} == {"msg_1"}
    assert (sender.counters.retried, sender.counters.delivered) == (1, 1)


@pytest.mark.parametrize("receiver", [(410,)], indirect=True)
def test_a_receiver_that_is_gone_for_good_is_not_asked_again(receiver: Receiver) -> None:
    sender = _sender(receiver.url)
    sender.start()
    sender.notify("call.started", {})
    receiver.wait(1)
    sender.stop()
    assert sender.waiting == 0
