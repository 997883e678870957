"""What another worker makes of a saved history, and has left to do."""

from __future__ import annotations

import time

from livekit.agents import ChatContext
from livekit.agents.llm import FunctionCall, FunctionCallOutput

from tests.agents.livekit.parts import said
from voice_gateway.agents.livekit.call.history import Continuation, continue_from, from_saved, to_saved
from voice_gateway.store.base import Line

USER, GREETING = Line(1, "user", "a taro"), Line(0, "agent", "Hi.")


def history(*messages: tuple[str, str]) -> ChatContext:
    context = ChatContext.empty()
    for role, text in messages:
        context.add_message(role=role, content=text)
    return context


def test_a_restored_history_is_not_newer_than_now() -> None:
    context = history(("user", "a taro"), ("assistant", "Sure."))
    for each in context.items:
        each.created_at += 3_600
    restored = from_saved(to_saved(context))
    assert said(restored) == said(context)
    assert max(each.created_at for each in restored.items) <= time.time()


def test_a_turn_without_an_answer_is_the_models() -> None:
    context = history(("assistant", "Hi."), ("user", "a taro"))
    assert continue_from(context, (GREETING, USER), "", None, is_pending=True) == Continuation(answers=True)


def test_a_part_of_an_answer_is_asked_for_again_without_what_was_said() -> None:
    context = history(("user", "a taro"))
    lines = (USER, Line(1, "agent", "One."), Line(1, "agent", "Two."))
    todo = continue_from(context, lines, "Two.", None, is_pending=True)
    assert todo == Continuation(again="Two.", answers=True, said="One. Two.")


def test_of_a_whole_answer_the_rest_is_said_and_what_was_heard_is_in_the_history() -> None:
    context = history(("user", "a taro"))
    lines = (USER, Line(1, "agent", "One."), Line(1, "agent", "Two."))
    todo = continue_from(context, lines, "Two.", "One. Two. Three.", is_pending=True)
    assert todo == Continuation(again="Two.", rest="Three.")
    assert said(context) == [("user", "a taro"), ("assistant", "One.")]


def test_words_before_a_tool_are_no_part_of_the_answer_that_was_said_after_it() -> None:
    lines = (USER, Line(1, "agent", "One moment."), Line(1, "agent", "It is ordered."))
    for answer, rest in (("It is ordered.", ""), ("It is ordered. More?", "More?")):
        context = history(("user", "a taro"), ("assistant", "One moment."))
        todo = continue_from(context, lines, "It is ordered.", answer, is_pending=True)
        assert todo == Continuation(again="It is ordered.", rest=rest)


def test_a_whole_answer_that_is_in_the_history_is_not_said_again() -> None:
    lines = (USER, Line(1, "agent", "One moment."), Line(1, "agent", "It is ordered."))
    context = history(("user", "a taro"), ("assistant", "One moment."), ("assistant", "It is ordered."))
    assert continue_from(context, lines, "", "It is ordered.", is_pending=True) == Continuation()


def test_words_before_a_tool_are_not_said_again_and_the_model_sees_its_call_open() -> None:
    context = history(("user", "a taro"), ("assistant", "One moment."))
    todo = continue_from(context, (USER, Line(1, "agent", "One moment.")), "", None, is_pending=True)
    assert todo == Continuation(answers=True, said="One moment.")
    assert said(context) == [("user", "a taro")]


def test_results_of_tools_stay_in_the_history() -> None:
    context = history(("user", "a taro"), ("assistant", "One moment."))
    call = FunctionCall(call_id="c", name="add", arguments="{}")
    context.insert([call, FunctionCallOutput(call_id="c", name="add", output="added", is_error=False)])
    lines = (USER, Line(1, "agent", "One moment."), Line(1, "agent", "I have it."))
    todo = continue_from(context, lines, "I have it.", None, is_pending=True)
    assert todo == Continuation(again="I have it.", answers=True, said="I have it.")
    assert [each.type for each in context.items][-1] == "function_call_output"


def test_a_greeting_that_was_cut_off_is_said_again_and_heard_in_part() -> None:
    context = history()
    todo = continue_from(context, (GREETING, Line(0, "agent", "Welcome.")), "Welcome.", None, is_pending=False)
    assert todo == Continuation(again="Welcome.")
    assert said(context) == [("assistant", "Hi.")]


def test_what_the_history_has_is_not_added_again() -> None:
    context = history(("user", "a taro"), ("assistant", "One. Two."))
    lines = (USER, Line(1, "agent", "One."), Line(1, "agent", "Two."))
    assert continue_from(context, lines, "", None, is_pending=False) == Continuation()
    assert said(context) == [("user", "a taro"), ("assistant", "One. Two.")]
