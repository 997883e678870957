"""What calls lost by an event, from the times at which their echo came back."""

from __future__ import annotations

import asyncio

from bench.peers.timing import CallTimes
from bench.routing.__main__ import figures
from bench.routing.events import EVENTS, Event, Window, happen, loss_of, nothing

CONTROL = EVENTS[0]
WINDOW = Window(CONTROL, 10.0, 14.0, 0.0)


def echoed(*spans: tuple[float, float]) -> CallTimes:
    """A call whose frames came back every 20 ms from each begin to its end."""
    times = [begin + 0.02 * index for begin, end in spans for index in range(round((end - begin) / 0.02))]
    return CallTimes(began=0.0, received=list(enumerate(times)))


def test_gap_is_the_longest_wait_beyond_the_time_of_a_frame() -> None:
    loss = loss_of(echoed((9.0, 11.0), (12.0, 15.0)), WINDOW)
    assert abs(loss.gap_ms - 1000) < 1
    assert loss.is_kept


def test_call_that_does_not_come_back_is_not_kept_and_its_gap_lasts_to_the_end_of_the_window() -> None:
    loss = loss_of(echoed((9.0, 11.0), (14.5, 16.0)), WINDOW)
    assert abs(loss.gap_ms - 3000) < 1
    assert not loss.is_kept


def test_call_without_an_echo_lost_the_whole_window() -> None:
    assert loss_of(echoed(), WINDOW).gap_ms == 3980.0


def test_figures_count_the_calls_kept_and_say_which_event_is_a_restart() -> None:
    windows = [Window(each, 10.0, 14.0, 0.5) for each in EVENTS]
    found = figures(windows, [echoed((9.0, 15.0)), echoed((9.0, 11.0))])
    assert [each["kept"] for each in found.values()] == [1] * len(EVENTS)
    assert [name for name, each in found.items() if each["is_restart"]] == [
        "load balancer killed, started again",
        "load balancer killed, started again while Redis is away for 3 s",
    ]
    assert found["clients move"]["took_ms"] == 500


async def test_window_lasts_from_the_beginning_of_its_event_to_so_long_after_its_end() -> None:
    async def slow(_: object) -> None:
        await asyncio.sleep(0.05)

    (window,) = await happen(None, [Event("slow", slow, 0.02)])  # type: ignore[arg-type]  # the event needs no site
    assert window.took >= 0.05
    assert window.ended - window.began >= window.took + 0.02
    assert nothing is CONTROL.happen
