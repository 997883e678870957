"""Expectations against a record: a sentence for each that does not hold. Sans-IO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from voice_eval.call.record import CallRecord, ToolCall
from voice_eval.scenario.loading import shown
from voice_eval.scenario.model import Absent, Expectations, ToolExpectation
from voice_eval.verdict.words import has_text


def broken(expect: Expectations, record: CallRecord) -> list[str]:
    """Return what does not hold, in words."""
    return [
        *_texts(expect, record),
        *([] if not expect.state else _state(expect.state, record.state)),
        *_tools(expect, record),
        *_absent(expect.absent, record),
    ]


def _texts(expect: Expectations, record: CallRecord) -> Iterator[str]:
    for wanted, role, name in ((expect.transcript, "user", "transcript"), (expect.answer, "agent", "answer")):
        text = record.text_of(role)
        for each in wanted:
            if text is None:
                yield f"{name}: {each!r} cannot be checked: the driver gets no transcript"
            elif not has_text(text, each):
                yield f"{name}: {each!r} is missing"


def _state(wanted: Mapping[str, Any], state: Mapping[str, Any] | None) -> Iterator[str]:
    if state is None:
        yield "state: cannot be checked: the driver gets none"
    else:
        yield from _unlike("state", wanted, state)


def _unlike(place: str, wanted: Any, got: Any) -> Iterator[str]:
    """Maps are compared by the keys wanted, lists item by item and in length, the rest by value."""
    if isinstance(wanted, Mapping):
        if not isinstance(got, Mapping):
            yield f"{place}: got {shown(got)}, expected a map"
            return
        for key, value in wanted.items():
            if key not in got:
                yield f"{place}.{key}: missing, expected {shown(value)}"
            else:
                yield from _unlike(f"{place}.{key}", value, got[key])
    elif isinstance(wanted, list | tuple):
        if not isinstance(got, list | tuple) or len(got) != len(wanted):
            yield f"{place}: got {_count(got)}, expected {_count(wanted)}"
            return
        for number, (each, other) in enumerate(zip(wanted, got, strict=True)):
            yield from _unlike(f"{place}[{number}]", each, other)
    elif wanted != got:
        yield f"{place}: got {shown(got)}, expected {shown(wanted)}"


def _count(value: Any) -> str:
    return f"{len(value)} items" if isinstance(value, list | tuple) else shown(value)


def _tools(expect: Expectations, record: CallRecord) -> Iterator[str]:
    if expect.tools and record.tools is None:
        yield "tools: cannot be checked: the driver sees none"
    if record.tools is None:
        return
    for tool in expect.tools:
        times = sum(_is_meant(tool, each) for each in record.tools)
        if times != tool.times:
            called = [each for each in record.tools if each.name == tool.name]
            wrong = "" if not called or times else f", with {shown(dict(called[0].arguments))} instead"
            yield f"tools: {tool.name} was called {_times(times)}, expected {_times(tool.times)}{wrong}"
    known = {each.name for each in expect.tools}
    yield from (f"tools: {each}" for each in doubled(record.tools) if each.split("(")[0] not in known)


def doubled(calls: list[ToolCall]) -> list[str]:
    """Return the tools that were called again with the same arguments."""
    counted = Counter(f"{each.name}({shown(dict(each.arguments))})" for each in calls)
    return [f"{call} was called {_times(times)}" for call, times in counted.items() if times > 1]


def _is_meant(tool: ToolExpectation, call: ToolCall) -> bool:
    return call.name == tool.name and not list(_unlike("", tool.arguments, call.arguments))


def _times(number: int) -> str:
    return {0: "not at all", 1: "once", 2: "twice"}.get(number, f"{number} times")


def _absent(absent: Absent, record: CallRecord) -> Iterator[str]:
    for texts, role, name in ((absent.transcript, "user", "transcript"), (absent.answer, "agent", "answer")):
        text = record.text_of(role)
        if texts and text is None:
            yield f"absent.{name}: cannot be checked: the driver gets no transcript"
        yield from (f"absent.{name}: {each!r} is there" for each in texts if text is not None and has_text(text, each))
    if absent.tools and record.tools is None:
        yield "absent.tools: cannot be checked: the driver sees none"
    called = {each.name for each in record.tools or ()}
    yield from (f"absent.tools: {each} was called" for each in absent.tools if each in called)
    if absent.state and record.state is None:
        yield "absent.state: cannot be checked: the driver gets none"
    for key, value in absent.state.items():
        got = (record.state or {}).get(key)
        candidates = got if isinstance(got, list) and not isinstance(value, list) else [got]
        if (record.state is not None and key in record.state) and any(
            not list(_unlike("", value, each)) for each in candidates
        ):
            yield f"absent.state.{key}: {shown(value)} is there"
