"""Opens a new connection for a call whose own is lost, again and again until one of them carries the call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from voice_client.errors import AccessRefused, CertificateRefused, ClientError, InvalidSetting, SessionRefused
from voice_client.state_log import log_change

_log = logging.getLogger(__name__)

_SHORTEST_ATTEMPT_S = 0.2
_LONGEST_ATTEMPT_S = 4.0
_ANSWER_TIMEOUT_S = 5.0
_PROMPT_ATTEMPTS = 8
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.05, 2.0
_LONGEST_PAUSE_S = 10.0
_TOO_MANY = 429

Attempt = Callable[[asyncio.Timeout, bool], Awaitable[bool]]
"""Connects within the timeout and returns whether the call goes on; the flag says whether the local address is good."""


class Redial:
    """Makes attempts, the first at once, until one succeeds or `cancel` is called.

    An attempt that is not answered is given up soon and followed at once by one from another port: a load balancer may
    have chosen a worker that is gone. One that is refused is followed after a growing, random delay, or when the server
    says that its limits allow it.
    """

    def __init__(
        self, attempt: Attempt, fail: Callable[[ClientError], None], rng: Callable[[int], bytes], rtt_ms: float | None
    ) -> None:
        self._attempt = attempt
        self._fail = fail
        self._rng = rng
        self.is_over = False
        """Whether no further attempt will be made."""
        self._shortest_s = max(_SHORTEST_ATTEMPT_S, 3 * (rtt_ms or 0.0) / 1000)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def succeeded(self) -> None:
        """Make no more attempts; the one that is under way carries the call, and ends by itself."""
        self.is_over = True

    def cancel(self) -> None:
        """Make no more attempts; one that is under way is abandoned."""
        self.is_over = True
        if self._task is not asyncio.current_task():
            self._task.cancel()

    async def _run(self) -> None:
        attempt_s, delay_s, number, has_address = self._shortest_s, _FIRST_DELAY_S, 0, True
        while not self.is_over:
            number += 1
            log_change(_log, "redial_attempt", number=number, timeout_s=attempt_s)
            is_answered, least_s = True, 0.0
            try:
                async with asyncio.timeout(attempt_s) as limit:
                    if await self._attempt(limit, has_address):
                        return
            except TimeoutError:
                is_answered = False
            except (AccessRefused, CertificateRefused) as error:
                self._fail(error)
                return
            except InvalidSetting:
                has_address = False
            except SessionRefused as error:
                if error.status == _TOO_MANY:  # elsewhere it may be, too: other refusals are one worker's
                    least_s = min(error.retry_after_s or 0.0, _LONGEST_PAUSE_S)
            except ClientError:
                pass
            attempt_s = min(attempt_s * 1.3, max(_LONGEST_ATTEMPT_S, self._shortest_s))
            if is_answered or number >= _PROMPT_ATTEMPTS:
                await asyncio.sleep(max(least_s, delay_s * (0.5 + self._rng(1)[0] / 255)))
                delay_s = min(delay_s * 2, _LONGEST_DELAY_S)


def answered(limit: asyncio.Timeout) -> None:
    """The server of this attempt is there: give it the time that it takes to find the session."""
    limit.reschedule(asyncio.get_running_loop().time() + _ANSWER_TIMEOUT_S)
