"""Sends notifications of calls by HTTP, from a thread of its own: no call waits for a receiver."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request

import structlog

from quiclb.logs.limits import LimitedLog
from voice_gateway.net.no_redirects import direct_opener
from voice_gateway.webhooks.schedule import Notification, Schedule, WebhookCounters
from voice_gateway.webhooks.signing import signed_headers

_OK: Final = range(200, 300)
_GONE: Final = 410
_log = LimitedLog(structlog.get_logger("voice_gateway.webhooks"))


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """Where notifications of which events go, as of `[webhooks]`."""

    urls: Sequence[str]
    key: bytes
    events: frozenset[str]
    attempts: int = 8
    timeout_s: float = 5.0
    max_pending: int = 1_000


class WebhookSender:
    """`start` it, `notify` from any thread, `stop` it in the end.

    `clock` gives seconds since 1970, `new_id` an ID for each notification, the same for all of its attempts.
    """

    def __init__(
        self, options: WebhookOptions, *, clock: Callable[[], float], new_id: Callable[[], str], rng: random.Random
    ) -> None:
        self._options = options
        self._clock = clock
        self._new_id = new_id
        self._schedule = Schedule(options.max_pending, options.attempts, rng)
        self._changed = threading.Condition()
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._opener = direct_opener()

    @property
    def counters(self) -> WebhookCounters:
        return self._schedule.counters

    @property
    def waiting(self) -> int:
        """How many notifications wait, to be sent or to be tried again."""
        return len(self._schedule)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Try what is due once more and end; blocks for `timeout_s` at most."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None

    def notify(self, event: str, data: Mapping[str, Any]) -> None:
        """Send an event to each receiver that wants it; returns at once."""
        if event not in self._options.events:
            return
        now = self._clock()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        body = json.dumps({"type": event, "timestamp": stamp, "data": dict(data)}).encode()
        with self._changed:
            for url in self._options.urls:
                self._schedule.add(f"msg_{self._new_id()}", url, body, time.monotonic())
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                notification = self._schedule.take(time.monotonic())
                if notification is None:
                    if self._is_stopping:
                        return
                    due_at = self._schedule.due_at
                    self._changed.wait(None if due_at is None else max(0.0, due_at - time.monotonic()))
                    continue
            reason, retry_after_s = self._attempt(notification)
            with self._changed:
                if reason is None:
                    self._schedule.delivered()
                else:
                    _log.warning("webhook_failed", attempts=notification.attempts + 1, reason=reason)
                    self._schedule.failed(notification, time.monotonic(), retry_after_s=retry_after_s)

    def _attempt(self, notification: Notification) -> tuple[str | None, float | None]:
        """Return why it failed, `None` where it did not, and after how many seconds the receiver wants it again."""
        headers = signed_headers(self._options.key, notification.notification_id, int(self._clock()), notification.body)
        headers |= {"Content-Type": "application/json", "User-Agent": "voice-gateway"}
        request = Request(notification.url, notification.body, headers)  # noqa: S310 - http and https only, by the settings
        try:
            with self._opener.open(request, timeout=self._options.timeout_s) as answer:
                status, retry_after = answer.status, None
        except HTTPError as error:
            with error:
                status, retry_after = error.code, error.headers.get("Retry-After")
        except (URLError, HTTPException, OSError) as error:
            return type(getattr(error, "reason", error)).__name__, None
        if status in _OK or status == _GONE:
            return None, None
        return f"status {status}", float(retry_after) if retry_after and retry_after.isdecimal() else None
