"""What a call makes of the messages of its present host."""

from __future__ import annotations

from typing import Any

from voice_gateway.agent.base import (
    AgentEvent,
    AudioFormat,
    FinalTranscript,
    NoSpeechUpTo,
    SessionView,
    StateChanged,
)
from voice_gateway.hosts.messages import AskPressed, Handled, Hello, Load, Refused, decode_from_worker, encode_control
from voice_gateway.hosts.worker.call.continuity import Continuity
from voice_gateway.hosts.worker.call.host_messages import HostMessages

HELLO = Hello(agent="a", input_rate_hz=16_000, output_rate_hz=24_000, audio_format="pcm16")


class Placement:
    """Records what it is asked."""

    def __init__(self) -> None:
        self.attempt = 7
        self.asked: list[str] = []
        self.sent: list[bytes] = []
        self.is_left = False

    def is_at(self, attempt: int) -> bool:
        return not self.is_left and attempt == self.attempt

    def send(self, raw: bytes) -> None:
        self.sent.append(raw)

    def fail(self, reason: str) -> None:
        self.asked.append(f"fail: {reason}")
        self.is_left = True

    def host_took_call(self) -> None:
        self.asked.append("host_took_call")

    def host_refused(self) -> None:
        self.asked.append("host_refused")
        self.is_left = True

    def turn_began(self) -> None:
        self.asked.append("turn_began")

    def leave_if_quiet(self) -> None:
        pass


class Call:
    """The messages of one call, whose session may leave the host at an event."""

    def __init__(self, leaves_at: type[AgentEvent] | None = None) -> None:
        self.events: list[AgentEvent] = []
        self.placement = Placement()
        self.continuity = Continuity(SessionView("s-1", 0, {}, tuple, lambda: True), None)
        self._leaves_at = leaves_at
        placement: Any = self.placement
        self.messages = HostMessages(self._emit, AudioFormat.PCM16, self.continuity, placement)

    def _emit(self, event: AgentEvent) -> None:
        self.events.append(event)
        self.placement.is_left = self._leaves_at is not None and isinstance(event, self._leaves_at)


def test_what_follows_in_an_array_is_dropped_once_the_host_was_left() -> None:
    call = Call(leaves_at=NoSpeechUpTo)
    call.messages.received(encode_control([FinalTranscript("a tea", 1), NoSpeechUpTo(2), NoSpeechUpTo(3)]))
    assert call.events == [FinalTranscript("a tea", 1), NoSpeechUpTo(2)]
    assert call.placement.asked == ["turn_began"]


def test_hello_and_load_are_no_events_of_the_session() -> None:
    call = Call()
    call.messages.received(encode_control([HELLO, Load(calls=1, lag_ms=0.0)]))
    assert (call.events, call.placement.asked) == ([], ["host_took_call"])


def test_a_host_that_refuses_is_left_and_one_that_refuses_for_all_ends_the_call() -> None:
    call, last = Call(), Call()
    call.messages.received(encode_control([Refused(reason="full")]))
    last.messages.received(encode_control([Refused(reason="an old epoch", is_final=True)]))
    assert call.placement.asked == ["host_refused"]
    assert last.placement.asked == ["fail: the agent host refuses the call: an old epoch"]


def test_a_host_that_breaks_the_protocol_ends_the_call() -> None:
    call = Call()
    call.messages.received(b"\x00\xc1")
    (failure,) = call.placement.asked
    assert failure.startswith("fail: the agent host breaks the protocol: ")


def test_a_handled_message_does_not_go_to_the_next_host() -> None:
    call = Call()
    for digit in "12":
        call.continuity.asked(AskPressed(id=call.continuity.new_id(), digit=digit))
    call.messages.received(encode_control([Handled(id=1)]))
    assert call.continuity.replay() == [AskPressed(id=2, digit="2")]


def test_a_saved_checkpoint_is_reported_to_the_host_that_is_there() -> None:
    call = Call()
    call.messages.received(encode_control([StateChanged({"a": 1}, checkpoint=4), StateChanged(checkpoint=5)]))
    call.messages.saved(1)
    call.placement.attempt = 8
    call.messages.saved(2)
    (raw,) = call.placement.sent
    (report,) = decode_from_worker(raw, AudioFormat.PCM16)  # type: ignore[misc]  # it is not malformed
    assert getattr(report, "checkpoint", None) == 4
