"""What all reports show: one document of the evaluation, made of plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from voice_eval import __version__
from voice_eval.evaluation import Result
from voice_eval.verdict.figures import percentile


@dataclass(frozen=True, slots=True)
class About:
    """How the evaluation came about: enough to run it again."""

    driver: str
    target: str
    seed: int
    parallel: int
    took_s: float
    date: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class ConditionSummary:
    """All calls under one condition and fault; answer times in ms, over all utterances."""

    condition: str
    calls: int
    passed: int
    words: int
    words_lost: int
    unanswered: int
    answer_p50_ms: float | None
    answer_p99_ms: float | None
    silence_ms: float
    tools_doubled: int
    broken: int
    caller_late_p99_ms: float | None
    """How late the callers' own clocks were: above some 10 ms, the machine was too busy for the other times."""


def summaries(results: Sequence[Result]) -> list[ConditionSummary]:
    """Return a summary for each condition and fault, in the order of the calls."""
    return [_summary(name, [each for each in results if label(each) == name]) for name in labels(results)]


def label(result: Result) -> str:
    """The condition and the fault of a call."""
    fault = result.job.fault
    return result.job.condition.name + ("" if fault is None else f" + {fault} killed")


def labels(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(label(each) for each in results))


def document(results: Sequence[Result], about: About) -> dict[str, Any]:
    """Return everything but the sound."""
    return {
        "tool": {"name": "voice-eval", "version": __version__},
        "ok": all(each.verdict.has_passed for each in results),
        "about": asdict(about),
        "conditions": [asdict(each) for each in summaries(results)],
        "calls": [call_document(each) for each in results],
    }


def call_document(result: Result) -> dict[str, Any]:
    """Return one call and its verdict."""
    record, verdict, figures = result.record, result.verdict, result.verdict.figures
    return {
        "name": result.job.name,
        "scenario": result.job.scenario.name,
        "condition": result.job.condition.name,
        "fault": result.job.fault,
        "passed": verdict.has_passed,
        "verdict": verdict.sentence,
        "failures": list(verdict.failures),
        "fails_on_clean_link": verdict.fails_on_clean_link,
        "words": None if verdict.words is None else len(verdict.words),
        "words_lost": None if verdict.words_lost is None else list(verdict.words_lost),
        "tools_doubled": list(verdict.tools_doubled),
        "answers_ms": list(figures.answers_ms),
        "barge_ins_ms": list(figures.barge_ins_ms),
        "silence_ms": figures.silence_ms,
        "silences_ms": list(figures.silences_ms),
        "played_ms": figures.played_ms,
        "duration_ms": figures.duration_ms,
        "caller_late_p99_ms": _late_p99_ms([result]),
        "transcript": None if record.lines is None else [asdict(each) for each in record.lines],
        "state": record.state,
        "tools": None if record.tools is None else [asdict(each) for each in record.tools],
        "marks": [asdict(each) for each in record.marks],
        "error": record.error,
    }


def _summary(name: str, calls: Sequence[Result]) -> ConditionSummary:
    verdicts = [each.verdict for each in calls]
    answers = [at for verdict in verdicts for at in verdict.figures.answers_ms]
    answered = [at for at in answers if at is not None]
    return ConditionSummary(
        condition=name,
        calls=len(calls),
        passed=sum(each.has_passed for each in verdicts),
        words=sum(len(each.words or ()) for each in verdicts),
        words_lost=sum(len(each.words_lost or ()) for each in verdicts),
        unanswered=len(answers) - len(answered),
        answer_p50_ms=percentile(answered, 0.5),
        answer_p99_ms=percentile(answered, 0.99),
        silence_ms=round(sum(each.figures.silence_ms for each in verdicts), 1),
        tools_doubled=sum(len(each.tools_doubled) for each in verdicts),
        broken=sum(each.record.error is not None for each in calls),
        caller_late_p99_ms=_late_p99_ms(calls),
    )


def _late_p99_ms(calls: Sequence[Result]) -> float | None:
    late_s = percentile([each for call in calls for each in call.record.late_s], 0.99)
    return None if late_s is None else round(late_s * 1000, 1)
