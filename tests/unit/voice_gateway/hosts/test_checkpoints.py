"""The numbers by which hosts and sessions know the checkpoints of a call."""

from __future__ import annotations

from voice_gateway.agent.base import FinalTranscript, StateChanged
from voice_gateway.hosts.worker.call.checkpoints import HostCheckpoints


def numbered(checkpoints: HostCheckpoints, own: int, attempt: int) -> int:
    event = checkpoints.numbered(StateChanged({"a": 1}, {"b": 2}, own, 3), attempt)
    assert isinstance(event, StateChanged)
    assert event.checkpoint is not None
    assert event == StateChanged({"a": 1}, {"b": 2}, event.checkpoint, 3)
    return event.checkpoint


def test_checkpoints_of_two_hosts_have_different_numbers_for_the_session() -> None:
    checkpoints = HostCheckpoints()
    assert [numbered(checkpoints, 1, attempt=7), numbered(checkpoints, 1, attempt=8)] == [1, 2]


def test_a_saved_checkpoint_is_reported_once_by_the_number_of_its_host() -> None:
    checkpoints = HostCheckpoints()
    numbered(checkpoints, 1, attempt=7)
    number = numbered(checkpoints, 9, attempt=8)
    assert checkpoints.saved(number, 8) == 9
    assert checkpoints.saved(number, 8) is None


def test_a_checkpoint_of_a_host_that_was_left_is_not_reported_to_the_next_one() -> None:
    checkpoints = HostCheckpoints()
    number = numbered(checkpoints, 1, attempt=7)
    assert checkpoints.saved(number, 8) is None


def test_events_without_a_checkpoint_stay_as_they_are() -> None:
    checkpoints = HostCheckpoints()
    for event in (StateChanged({"a": 1}), FinalTranscript("a taro tea", 4)):
        assert checkpoints.numbered(event, 7) is event
