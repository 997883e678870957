"""Which worker runs in which slot, on a clock of numbers."""

from __future__ import annotations

from voice_gateway.supervisor.fleet import (
    DRAIN_MARGIN_S,
    FIRST_BACKOFF_S,
    LAST_BACKOFF_S,
    SETTLE_S,
    SILENCE_S,
    START_TIMEOUT_S,
    STEADY_S,
    DrainWorker,
    Effect,
    Fleet,
    Kill,
    NeverServed,
    Replaced,
    ReplacementFailed,
    SlotState,
    StartWorker,
    Steer,
)

DRAIN_S = 30.0


def serving(workers: int = 2) -> Fleet:
    fleet = Fleet(workers, DRAIN_S)
    fleet.begin(0.0)
    for slot in range(workers):
        fleet.served(slot, 1.0)
    return fleet


def expire(fleet: Fleet, now: float) -> list[Effect]:
    """Let time pass in which all event loops turn."""
    for slot in range(len(fleet.states)):
        fleet.alive(slot, now)
    return list(fleet.expire(now))


def states(fleet: Fleet) -> str:
    """One letter a slot, as `SS.` for two that serve and an empty one."""
    letters = {SlotState.EMPTY: ".", SlotState.STARTING: "s", SlotState.SERVING: "S"}
    return "".join(letters.get(state, state.name[0]) for state, _ in fleet.states)


def test_each_place_gets_a_worker_and_one_slot_stays_free():
    fleet = Fleet(3, DRAIN_S)
    assert fleet.begin(0.0) == [Steer(), StartWorker(0, 0), StartWorker(1, 1), StartWorker(2, 2)]
    assert states(fleet) == "sss."
    assert not fleet.is_serving
    for slot in range(3):
        assert fleet.served(slot, 1.0) == [Steer()]
    assert fleet.is_serving
    assert fleet.accepting == (0, 1, 2)


def test_datagrams_wait_for_workers_that_start():
    fleet = Fleet(2, DRAIN_S)
    fleet.begin(0.0)
    assert fleet.destinations() == ((0, 1, 2), (0, 1))


def test_what_belongs_to_a_dead_worker_goes_to_one_that_serves():
    fleet = serving()
    assert fleet.ended(0, 20.0) == [Steer()]
    assert fleet.destinations() == ((1, 1, 1), (1,))
    expire(fleet, 20.0 + FIRST_BACKOFF_S)
    assert fleet.destinations() == ((1, 1, 1), (1,)), "not before it serves again"
    fleet.served(0, 22.0)
    assert fleet.destinations() == ((0, 1, 0), (0, 1))


def test_datagrams_wait_for_the_only_worker():
    fleet = serving(1)
    fleet.ended(0, 20.0)
    assert fleet.destinations() == ((0, 1), (0,))


def test_restarts_back_off_up_to_a_limit_and_anew_after_a_steady_life():
    fleet = serving(1)
    delays, now = [], 1.0
    for _ in range(9):
        fleet.ended(0, now)
        assert fleet.deadline is not None
        delays.append(round(fleet.deadline - now, 6))
        now = fleet.deadline
        assert expire(fleet, now) == [StartWorker(0, 0)]
    assert delays == [min(FIRST_BACKOFF_S * 2**n, LAST_BACKOFF_S) for n in range(9)]
    assert fleet.restarts == 9
    fleet.served(0, now)
    fleet.ended(0, now + STEADY_S)
    assert fleet.deadline == now + STEADY_S + FIRST_BACKOFF_S


def test_nothing_is_due_early():
    fleet = serving(1)
    fleet.ended(0, 20.0)
    assert expire(fleet, 20.0 + FIRST_BACKOFF_S / 2) == []


def test_a_first_start_that_fails_is_not_tried_again():
    fleet = Fleet(2, DRAIN_S)
    fleet.begin(0.0)
    fleet.served(1, 0.5)
    assert fleet.ended(0, 1.0) == [NeverServed(0)]


def test_a_worker_that_does_not_start_or_does_not_turn_is_killed_once():
    fleet = Fleet(1, DRAIN_S)
    fleet.begin(0.0)
    [kill] = fleet.expire(START_TIMEOUT_S)
    assert isinstance(kill, Kill)
    assert fleet.expire(START_TIMEOUT_S + 1) == []
    fleet = serving(1)
    fleet.alive(0, 5.0)
    assert fleet.expire(4.9 + SILENCE_S) == []
    [kill] = fleet.expire(5.0 + SILENCE_S)
    assert isinstance(kill, Kill)
    assert fleet.expire(6.0 + SILENCE_S) == []


def test_workers_are_replaced_one_by_one_and_the_next_serves_before_the_last_drains():
    fleet = serving()
    assert fleet.replace_all(10.0) == [StartWorker(2, 0)]
    assert states(fleet) == "SSs"
    assert fleet.served(2, 12.0) == [Steer()]
    assert fleet.accepting == (1, 2), "new clients go elsewhere before the old one drains"
    assert fleet.destinations()[0] == (0, 1, 2), "its own still reach it"
    assert expire(fleet, 12.0 + SETTLE_S / 2) == []
    assert expire(fleet, 12.0 + SETTLE_S) == [DrainWorker(0)]
    assert fleet.ended(0, 15.0) == [StartWorker(0, 1), Steer()]
    fleet.served(0, 17.0)
    assert expire(fleet, 17.0 + SETTLE_S) == [DrainWorker(1)]
    assert fleet.is_replacing
    assert fleet.ended(1, 18.0) == [Replaced(), Steer()]
    assert states(fleet) == "S.S"
    assert [place for state, place in fleet.states if state is SlotState.SERVING] == [1, 0]
    assert not fleet.is_replacing


def test_one_worker_is_replaced_without_a_gap():
    fleet = serving(1)
    assert fleet.replace_all(10.0) == [StartWorker(1, 0)]
    fleet.served(1, 11.0)
    assert fleet.accepting == (1,)


def test_a_replacement_that_fails_leaves_all_as_it_was():
    fleet = serving()
    fleet.replace_all(10.0)
    assert fleet.ended(2, 11.0) == [ReplacementFailed(2), Steer()]
    assert states(fleet) == "SS."
    assert not fleet.is_replacing
    assert fleet.replace_all(20.0) == [StartWorker(2, 0)], "the next reload tries again"


def test_a_worker_that_dies_before_its_replacement_serves_is_not_started_again():
    fleet = serving()
    fleet.replace_all(10.0)
    assert fleet.ended(0, 11.0) == [Steer()]
    assert fleet.destinations() == ((1, 1, 1), (1,))
    assert fleet.served(2, 12.0) == [StartWorker(0, 1), Steer()], "and the next place follows"


def test_a_place_whose_worker_and_replacement_both_die_is_filled():
    fleet = serving()
    fleet.replace_all(10.0)
    fleet.ended(0, 11.0)
    assert fleet.ended(2, 12.0) == [ReplacementFailed(2), Steer()]
    assert StartWorker(2, 0) in expire(fleet, 12.0 + FIRST_BACKOFF_S)


def test_a_death_during_a_replacement_is_made_good_in_its_own_slot():
    fleet = serving()
    fleet.replace_all(10.0)
    fleet.ended(1, 20.0)
    assert states(fleet) == "SWs"
    assert expire(fleet, 20.0 + FIRST_BACKOFF_S) == [StartWorker(1, 1)]


def test_a_reload_in_the_middle_of_one_replaces_all_once_more():
    fleet = serving()
    fleet.replace_all(10.0)
    assert fleet.replace_all(11.0) == []
    fleet.served(2, 12.0)
    expire(fleet, 13.0)
    assert fleet.ended(0, 14.0) == [StartWorker(0, 0), Steer()], "the place that was done is replaced again"


def test_a_drain_that_takes_too_long_ends_by_force():
    fleet = serving()
    fleet.replace_all(10.0)
    fleet.served(2, 12.0)
    expire(fleet, 12.0 + SETTLE_S)
    late = 12.0 + SETTLE_S + DRAIN_S + DRAIN_MARGIN_S
    [kill] = expire(fleet, late)
    assert isinstance(kill, Kill)
    assert kill.slot == 0


def test_stop_drains_all_and_kills_them_the_second_time():
    fleet = serving()
    fleet.ended(1, 5.0)
    assert fleet.stop(6.0) == [DrainWorker(0)]
    assert expire(fleet, 7.0) == [], "what waited is not started"
    assert not fleet.is_over
    [kill] = fleet.stop(8.0)
    assert isinstance(kill, Kill)
    assert fleet.ended(0, 9.0) == []
    assert fleet.is_over


def test_a_worker_that_starts_during_a_reload_is_replaced_once_it_serves():
    fleet = serving(1)
    fleet.ended(0, 2.0)
    expire(fleet, 3.0)
    assert states(fleet) == "s."
    assert fleet.replace_all(4.0) == [], "it has read the former settings"
    assert fleet.is_replacing
    assert fleet.served(0, 5.0) == [Steer(), StartWorker(1, 0)]


def test_a_worker_that_ends_while_it_starts_during_a_reload_has_the_new_settings_next_time():
    fleet = serving(1)
    fleet.ended(0, 2.0)
    expire(fleet, 3.0)
    fleet.replace_all(4.0)
    assert fleet.ended(0, 5.0) == [Steer(), Replaced()]
    assert not fleet.is_replacing
    assert states(fleet) == "W."


def test_a_supervisor_that_was_upgraded_goes_on_with_the_workers_there_are():
    fleet = Fleet(2, DRAIN_S)
    effects = fleet.adopt([(2, 0, SlotState.SERVING), (1, 1, SlotState.SERVING)], 100.0)
    assert effects == [Steer()]
    assert fleet.is_serving
    assert fleet.replace_all(100.0) == [StartWorker(0, 0)]


def test_a_worker_that_was_missing_at_an_upgrade_is_started():
    fleet = Fleet(2, DRAIN_S)
    assert fleet.adopt([(2, 0, SlotState.SERVING)], 100.0) == [StartWorker(0, 1), Steer()]
