"""What the next host of a call gets, and what the session does not get twice."""

from __future__ import annotations

from collections.abc import Sequence

from voice_gateway.agent.base import (
    AgentEvent,
    FinalTranscript,
    Finished,
    NoSpeechUpTo,
    PlaybackFinished,
    Reply,
    ReplyAudio,
    ReplyEnded,
    ReplyText,
    SessionView,
    StateChanged,
    UserStartedSpeaking,
)
from voice_gateway.hosts.messages import AskFinish, AskGreet, AskPressed, AskSayAgain, AskText
from voice_gateway.hosts.worker.call.continuity import MAX_KEPT_BYTES, Continuity
from voice_gateway.store.base import Line


class Session:
    """A transcript as the session keeps it, and what it was given."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.got: list[AgentEvent] = []
        self.continuity = Continuity(SessionView("s-1", 0, {}, lambda: tuple(self.lines), lambda: True), None)

    def emitted(self, *events: AgentEvent) -> None:
        """The host emitted these."""
        for event in events:
            for each in self.continuity.follow(event):
                self.got.append(each)
                if isinstance(each, FinalTranscript):
                    self.lines.append(Line(len(self.lines), "user", each.text))
                elif isinstance(each, Reply):
                    self.lines.append(Line(len(self.lines), "agent", each.text))

    @property
    def audio(self) -> bytes:
        return b"".join(each.pcm for each in self.got if isinstance(each, ReplyAudio))

    def texts(self) -> list[str]:
        return [each.text for each in self.got if isinstance(each, Reply)]


def kinds(messages: Sequence[object]) -> list[str]:
    return [type(message).__name__ for message in messages]


def test_frames_that_no_event_covers_go_to_the_next_host() -> None:
    session = Session()
    for sequence in range(5):
        session.continuity.frame(sequence, bytes([sequence]))
    session.emitted(NoSpeechUpTo(1))
    assert session.continuity.opening(1).through_sequence == 1
    assert session.continuity.replay() == [(2, b"\2"), (3, b"\3"), (4, b"\4")]
    session.emitted(FinalTranscript("hello", 4))
    session.lines.append(Line(1, "agent", "hi"))
    assert session.continuity.replay() == []


def test_the_next_host_gets_what_was_emitted_last() -> None:
    session = Session()
    session.emitted(FinalTranscript("tea", 3, {"n": 1}, {"pending": [1]}), StateChanged(None, {"pending": [2]}))
    opened = session.continuity.opening(7)
    assert (opened.state, opened.private_state, opened.turn, opened.epoch) == ({"n": 1}, {"pending": [2]}, 1, 7)
    assert [(line.role, line.text) for line in opened.transcript] == [("user", "tea")]


def test_a_reply_that_was_cut_goes_on_where_the_session_has_it() -> None:
    session = Session()
    session.emitted(FinalTranscript("tea", 3), Reply("one. two."), ReplyAudio(b"abcd"))
    (again,) = session.continuity.replay()
    assert isinstance(again, AskSayAgain)
    assert again.text == "one. two."
    session.emitted(Reply("one. two."), ReplyAudio(b"ab"), ReplyAudio(b"cdef"), ReplyEnded())
    assert session.texts() == ["one. two."], "the session does not get it twice"
    assert session.audio == b"abcdef"
    assert isinstance(session.got[-1], ReplyEnded)


def test_a_reply_that_waits_for_playback_is_said_to_the_host_alone() -> None:
    session = Session()
    session.emitted(Reply("one."), ReplyAudio(b"abcd"), ReplyEnded())
    session.continuity.replay()
    before = list(session.got)
    session.emitted(Reply("one."), ReplyAudio(b"abcdxx"), ReplyEnded())
    assert session.got == before
    assert session.continuity.playback_finished(PlaybackFinished("one.", 80)) == PlaybackFinished("one.", 80)
    session.emitted(Reply("two."), ReplyAudio(b"ef"), ReplyEnded())
    assert session.texts() == ["one.", "two."]


def test_a_repeated_reply_that_was_played_meanwhile_is_not_said_twice() -> None:
    session = Session()
    session.emitted(Reply("one."), ReplyAudio(b"abcd"), ReplyEnded())
    session.continuity.replay()
    session.continuity.playback_finished(PlaybackFinished("one.", 80))
    session.emitted(Reply("one."), ReplyAudio(b"abcd"), ReplyEnded())
    assert session.texts() == ["one."]
    assert session.audio == b"abcd"


def test_replies_repeated_as_one_are_reported_as_one() -> None:
    session = Session()
    session.emitted(Reply("one."), ReplyAudio(b"ab"), ReplyEnded(), Reply("two."), ReplyAudio(b"c"))
    (again,) = session.continuity.replay()
    assert isinstance(again, AskSayAgain)
    assert again.text == "one. two."
    session.emitted(Reply("one. two."), ReplyAudio(b"abcd"), ReplyEnded())
    assert session.audio == b"abcd"
    assert session.continuity.playback_finished(PlaybackFinished("one.", 10)) is None
    played = session.continuity.playback_finished(PlaybackFinished("two.", 20))
    assert played == PlaybackFinished("one. two.", 30)


def test_an_agent_that_cannot_repeat_ends_the_reply_with_its_next_one() -> None:
    session = Session()
    session.emitted(Reply("one."), ReplyAudio(b"ab"))
    session.continuity.replay()
    session.emitted(Reply("two."), ReplyAudio(b"cd"), ReplyEnded())
    assert kinds(session.got) == ["Reply", "ReplyAudio", "ReplyEnded", "Reply", "ReplyAudio", "ReplyEnded"]
    assert session.continuity.playback_finished(PlaybackFinished("one.", 10)) is None
    assert session.continuity.playback_finished(PlaybackFinished("two.", 10)) == PlaybackFinished("two.", 10)


def test_an_agent_that_says_nothing_again_ends_the_reply_after_a_while() -> None:
    session = Session()
    session.emitted(Reply("one."), ReplyAudio(b"ab"))
    session.continuity.replay()
    assert session.continuity.give_up_repeating() == (ReplyEnded(),)
    assert session.continuity.give_up_repeating() == ()


def test_a_repeated_reply_that_the_user_interrupts_is_over() -> None:
    session = Session()
    session.emitted(Reply("one."), ReplyAudio(b"ab"))
    session.continuity.replay()
    session.emitted(Reply("one."), UserStartedSpeaking(9), ReplyAudio(b"abcd"), ReplyEnded())
    assert session.audio == b"ab"
    cut = PlaybackFinished("", 0, is_interrupted=True)
    assert session.continuity.playback_finished(cut) == cut
    assert session.continuity.replay() == []


def test_what_the_session_wants_again_is_asked_of_the_next_host() -> None:
    session = Session()
    session.emitted(Reply("one."), ReplyAudio(b"ab"), ReplyEnded())
    session.continuity.asked(AskSayAgain(id=session.continuity.new_id(), text="one."))
    (again,) = session.continuity.replay()
    assert isinstance(again, AskSayAgain)
    session.emitted(Reply("one."), ReplyAudio(b"ab"), ReplyEnded())
    assert session.texts() == ["one.", "one."], "the session asked for a new reply"


def test_keys_go_to_the_next_host_until_they_were_handled() -> None:
    session = Session()
    pressed = AskPressed(id=session.continuity.new_id(), digit="5")
    session.continuity.asked(pressed)
    assert session.continuity.replay() == [pressed]
    session.continuity.handled(pressed.id)
    assert session.continuity.replay() == []


def test_messages_go_to_the_next_host_until_an_event_names_them() -> None:
    session = Session()
    text = AskText(id=session.continuity.new_id(), number=3, text="hello")
    session.continuity.asked(text)
    session.continuity.handled(text.id)
    assert session.continuity.replay() == [text]
    session.emitted(StateChanged(through_message=3))
    assert session.continuity.replay() == []


def test_a_caller_who_waits_for_an_answer_is_greeted_by_the_next_host() -> None:
    session = Session()
    assert session.continuity.replay() == [], "nothing was asked yet"
    session.continuity.asked(AskGreet(id=session.continuity.new_id()))
    assert kinds(session.continuity.replay()) == ["AskGreet"]
    session.emitted(Reply("hi"), ReplyEnded())
    session.continuity.playback_finished(PlaybackFinished("hi", 10))
    assert session.continuity.replay() == []
    session.emitted(FinalTranscript("tea", 3))
    assert kinds(session.continuity.replay()) == ["AskGreet"]


def test_finish_is_asked_of_the_next_host_until_it_was_answered() -> None:
    session = Session()
    session.continuity.asked(AskFinish(id=session.continuity.new_id()))
    session.continuity.frame(0, b"a")
    assert kinds(session.continuity.replay()) == ["tuple", "AskFinish"], "after the frames"
    session.emitted(Finished())
    assert kinds(session.continuity.replay()) == ["tuple"]


def test_a_call_is_quiet_when_neither_side_speaks_and_no_answer_is_due() -> None:
    session = Session()
    assert session.continuity.is_quiet
    session.emitted(UserStartedSpeaking(1))
    assert not session.continuity.is_quiet
    session.emitted(FinalTranscript("tea", 3))
    assert not session.continuity.is_quiet, "an answer is due"
    session.emitted(Reply("one."), ReplyEnded())
    assert not session.continuity.is_quiet, "it is being played"
    session.continuity.playback_finished(PlaybackFinished("one.", 10))
    assert session.continuity.is_quiet


def test_what_is_kept_has_a_bound() -> None:
    session = Session()
    session.continuity.frame(0, bytes(MAX_KEPT_BYTES))
    assert not session.continuity.is_full
    session.continuity.frame(1, b"a")
    assert session.continuity.is_full


def test_a_reply_is_said_again_with_the_text_that_it_had_last() -> None:
    session = Session()
    session.emitted(Reply("one"), ReplyText("one two."), ReplyAudio(b"ab"))
    (again,) = session.continuity.replay()
    assert isinstance(again, AskSayAgain)
    assert again.text == "one two."
    session.emitted(Reply("one two."), ReplyText("one"), ReplyText("one two. three."), ReplyAudio(b"abcd"))
    assert session.got[1:] == [
        ReplyText("one two."),
        ReplyAudio(b"ab"),
        ReplyText("one two. three."),
        ReplyAudio(b"cd"),
    ]
    session.emitted(ReplyEnded(), ReplyText("four"))
    assert isinstance(session.got[-1], ReplyEnded)
    cut = PlaybackFinished("one two. thr", 10, is_interrupted=True)
    assert session.continuity.playback_finished(cut) == cut


def test_how_much_was_played_counts_from_the_beginning_of_what_is_repeated_as_one() -> None:
    session = Session()
    session.emitted(Reply("one."), ReplyAudio(b"ab"), ReplyEnded(), Reply("two."), ReplyAudio(b"c"))
    assert session.continuity.played(5) == 5
    session.continuity.replay()
    session.emitted(Reply("one. two."), ReplyAudio(b"abcd"), ReplyEnded())
    assert session.continuity.played(5) == 5
    session.continuity.playback_finished(PlaybackFinished("one.", 10))
    assert session.continuity.played(5) == 15


def test_the_playback_of_a_reply_of_a_host_before_is_not_told() -> None:
    session = Session()
    assert session.continuity.played(5) is None
    session.emitted(Reply("one."), ReplyAudio(b"ab"))
    session.continuity.replay()
    session.continuity.give_up_repeating()
    assert session.continuity.played(5) is None
