"""A call as plain values, for programs and for the page: turns, answers, gaps, incidents, tools, waveforms. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from voice_gateway.recording.reading.assembly import INCIDENTS, TimedEvent, Timeline
from voice_gateway.recording.reading.tracks import Samples, render
from voicelink.wire import CLOCK_HZ

BUDGET_MS: Final = 800.0
"""What a turn may take from the caller's last word to the answer's first sound."""
DOCUMENT_VERSION: Final = 1
_STAGES: Final = ("uplink_age", "endpointing", "stt_ttfb", "llm_ttfb", "tts_ttfb")
_FIGURES: Final = {"stt": "stt_ttfb", "llm": "llm_ttfb", "tts": "tts_ttfb", "response": "user_bot_latency"}
"""What the wire's names of figures are called in `Figure`."""
_MOST_PEAKS: Final = 6_000
_PEAK_RATE_HZ: Final = 8_000


def call_document(timeline: Timeline, *, has_peaks: bool = False) -> dict[str, Any]:
    """Return all that is known of a call; with `has_peaks` its waveforms, which means to decode it. Times are in s."""
    head = timeline.heads[0]
    ended = next((event for event in reversed(timeline.events) if event.kind == "ended"), None)
    document: dict[str, Any] = {
        "version": DOCUMENT_VERSION,
        "session": head.session_id,
        "began": round(timeline.began_s, 3),
        "duration_s": _s(timeline.length),
        "agent": head.agent,
        "subject": head.subject,
        "transport": head.transport,
        "code": None if ended is None else ended.facts.get("code"),
        "workers": [
            {"worker": each.worker, "epoch": each.epoch, "began": round(each.wall_us / 1e6, 3)}
            for each in timeline.heads
        ],
        "clock": "caller" if timeline.has_media_clock else "worker",
        "budget_ms": BUDGET_MS,
        "turns": list(_turns(timeline)),
        "answers": list(_answers(timeline)),
        "gaps": list(_gaps(timeline)),
        "incidents": [_event(event) for event in timeline.events if event.kind in INCIDENTS],
        "tools": list(_tools(timeline)),
        "events": [_event(event) for event in timeline.events],
        "words": [_event(words) for words in timeline.words],
    }
    if has_peaks:
        document["peaks"] = _peaks(timeline)
    return document


def _turns(timeline: Timeline) -> Iterator[dict[str, Any]]:
    """Yield each turn: when its words were final, what was said, its figures, and where its time went."""
    turns: dict[int, dict[str, Any]] = {}

    def turn(number: int) -> dict[str, Any]:
        return turns.setdefault(number, {"turn": number, "at_s": None, "lines": [], "figures_ms": {}})

    for event in timeline.events:
        if event.kind == "transcript":
            found = turn(event.facts["turn"])
            if found["at_s"] is None:
                found["at_s"] = _s(event.tick)
        elif event.kind in ("latency", "measured", "turn"):
            found = turn(event.facts["turn"])
            figures = {key.removesuffix("_ms"): value for key, value in event.facts.items() if key.endswith("_ms")}
            found["figures_ms"] |= {_FIGURES.get(name, name): value for name, value in figures.items()}
        if event.kind == "turn":
            found["was_interrupted"] = event.facts.get("was_interrupted", False)
            found["frames_replayed"] = event.facts.get("frames_replayed", 0)
    for words in timeline.words:
        if words.kind == "transcript":
            line = {"role": words.facts["role"], "text": words.facts["text"], "at_s": _s(words.tick)}
            lines = turn(words.facts["turn"])["lines"]
            if any((each["role"], each["text"]) == (line["role"], line["text"]) for each in lines):
                continue  # sent once more, as the caller came back
            if lines and lines[-1]["role"] == line["role"] and _is_correction(lines[-1]["text"], line["text"]):
                lines[-1] = line
            else:
                lines.append(line)
    for number in sorted(turns):
        yield turns[number] | {"budget": _budget(turns[number]["figures_ms"])}


def _is_correction(before: str, after: str) -> bool:
    """Whether a line takes the place of the one before it: more words of it are known, or fewer were played."""
    return bool(before) and (after.startswith(before) or before.startswith(after))


def _budget(figures_ms: Mapping[str, float]) -> dict[str, Any] | None:
    """Return where the time of a turn went, stage by stage; the rest of the whole is its way to the caller's ear."""
    stages: list[dict[str, Any]] = [
        {"stage": stage, "ms": figures_ms[stage]} for stage in _STAGES if stage in figures_ms
    ]
    known = sum(stage["ms"] for stage in stages)
    total = figures_ms.get("user_bot_latency")
    if total is None and not {"endpointing", "llm_ttfb"} & figures_ms.keys():
        return None
    if total is not None and total > known:
        stages.append({"stage": "delivery", "ms": round(total - known, 1)})
    whole = known if total is None else total
    return {
        "total_ms": round(whole, 1),
        "is_measured": total is not None,
        "stages": stages,
        "is_over": whole > BUDGET_MS,
    }


def _answers(timeline: Timeline) -> Iterator[dict[str, Any]]:
    for piece in timeline.agent.pieces:
        answer = timeline.answers[piece.utterance_id]
        yield {
            "utterance": piece.utterance_id,
            "turn": answer.turn,
            "start_s": _s(piece.start - timeline.origin),
            "end_s": _s(piece.stop - timeline.origin),
            "made_s": _s(answer.length),
            "is_again": answer.is_again,
            "is_interrupted": answer.is_interrupted,
        }


def _gaps(timeline: Timeline) -> Iterator[dict[str, Any]]:
    origin = timeline.origin
    for frames in timeline.caller.missing:
        start_s, end_s = _s(frames.start - origin), _s(frames.end - origin)
        count = frames.last - frames.first + 1
        yield {"track": "caller", "start_s": start_s, "end_s": end_s, "frames": count, "cause": timeline.cause}
    for lost in timeline.agent.missing:
        start = lost.start - origin
        start_s, end_s = _s(start), _s(start + lost.end - lost.begin)
        yield {"track": "agent", "start_s": start_s, "end_s": end_s, "cause": timeline.cause}


def _tools(timeline: Timeline) -> Iterator[dict[str, Any]]:
    results = {event.facts["call_id"]: event for event in timeline.events if event.kind == "tool_result"}
    for event in timeline.events:
        if event.kind == "tool_call":
            result = results.get(event.facts["call_id"])
            yield {
                "call_id": event.facts["call_id"],
                "name": event.facts["name"],
                "start_s": _s(event.tick),
                "end_s": None if result is None else _s(result.tick),
                "is_error": None if result is None else result.facts["is_error"],
            }


def _event(event: TimedEvent) -> dict[str, Any]:
    return {"at_s": _s(event.tick), "worker": event.worker, "kind": event.kind, **event.facts}


def _peaks(timeline: Timeline) -> dict[str, Any]:
    """Return the loudest sample of each stretch, from 0 to 100, for both tracks."""
    tracks = render(timeline, _PEAK_RATE_HZ)
    length = len(tracks.caller)
    per_peak = max(_PEAK_RATE_HZ // 50, -(-length // _MOST_PEAKS))
    return {
        "per_s": _PEAK_RATE_HZ / per_peak,
        "caller": _loudest(tracks.caller, per_peak),
        "agent": _loudest(tracks.agent, per_peak),
    }


def _loudest(track: Samples, per_peak: int) -> list[int]:
    padded = np.zeros(-(-len(track) // per_peak) * per_peak, np.int32)
    padded[: len(track)] = track
    loudest = np.abs(padded).reshape(-1, per_peak).max(axis=1) if len(padded) else padded
    return [int(each) for each in np.rint(loudest / 327.68)]


def _s(ticks: int) -> float:
    return round(ticks / CLOCK_HZ, 4)
