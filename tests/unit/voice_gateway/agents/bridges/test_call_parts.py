"""Parts of a bridge's call that own one thing each."""

from __future__ import annotations

from voice_gateway.agents.bridges.bridge.call.session.renewal import Renewal
from voice_gateway.agents.bridges.bridge.call.speaking.wanted import Wanted, WantedQueue
from voice_gateway.agents.bridges.bridge.echoes import Echoes


def test_a_session_is_replaced_at_a_quiet_moment_or_at_the_latest_moment() -> None:
    renewal = Renewal(margin_s=300, forced_s=20)
    renewal.ready(1_000.0, 3_600.0)
    assert not renewal.is_due(4_299.0, is_quiet=True)
    assert renewal.is_due(4_300.0, is_quiet=True)
    assert not renewal.is_due(4_579.0, is_quiet=False)
    assert renewal.is_due(4_580.0, is_quiet=False)
    renewal.lost()
    assert not renewal.is_due(9_999.0, is_quiet=True)


def test_a_session_whose_end_is_announced_is_replaced_at_the_next_quiet_moment() -> None:
    renewal = Renewal(margin_s=300, forced_s=20)
    renewal.ready(0.0, None)
    assert not renewal.is_due(1e9, is_quiet=True)
    renewal.ending(5.0, within_s=30.0)
    assert renewal.is_due(5.0, is_quiet=True)
    assert not renewal.is_due(14.9, is_quiet=False)
    assert renewal.is_due(15.0, is_quiet=False)


def test_typed_turns_are_not_read_to_a_session_that_has_them_in_its_history() -> None:
    wanted = WantedQueue()
    wanted.add(Wanted("Hello."))
    wanted.add(Wanted("a taro tea", is_read=True))
    wanted.add(Wanted("and a latte", is_read=True))
    assert wanted.read_count == 2
    wanted.session_opened()
    assert [wanted.next(), wanted.next()] == [Wanted("Hello."), Wanted()]
    assert not wanted


def test_a_lost_session_is_followed_by_what_it_was_saying_and_one_answer() -> None:
    wanted = WantedQueue()
    wanted.saying = Wanted("Hello.", made_bytes=640)
    wanted.session_lost(is_turn_pending=True)
    wanted.session_lost(is_turn_pending=True)
    assert [wanted.next(), wanted.next()] == [Wanted("Hello.", made_bytes=640, skip_bytes=640), Wanted()]
    assert not wanted


def test_only_typed_turns_outlast_the_callers_voice() -> None:
    wanted = WantedQueue()
    wanted.add(Wanted("Hello."))
    wanted.add(Wanted())
    wanted.add(Wanted("a taro tea", is_read=True))
    wanted.caller_started()
    assert wanted.next() == Wanted("a taro tea", is_read=True)
    assert not wanted


def test_a_text_that_the_vendor_repeats_is_told_from_words_once() -> None:
    echoes = Echoes()
    echoes.sent("a  taro\ntea ")
    assert echoes.is_waiting
    assert not echoes.take("a latte")
    assert echoes.take("a taro tea")
    assert not echoes.take("a taro tea")
    assert not echoes.is_waiting
