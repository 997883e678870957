"""The verdict on one call: passed or failed, and why, in words. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from voice_eval.call.record import CallRecord
from voice_eval.scenario.model import Budgets, Say, Scenario
from voice_eval.verdict.figures import Figures, measure, percentile
from voice_eval.verdict.rules import broken, doubled
from voice_eval.verdict.words import Word, align, lost, words_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """`words` and `words_lost` are `None` where the driver gets no transcript or the words are not known."""

    failures: tuple[str, ...]
    figures: Figures
    words: tuple[Word, ...] | None
    words_lost: tuple[str, ...] | None
    tools_doubled: tuple[str, ...]
    fails_on_clean_link: bool = False
    has_reference: bool = True
    """Whether there is a call on a clean link to compare with: without one, `words_lost` are all that were wrong."""
    is_clean: bool = False
    """Whether this is the call that the others are compared with."""

    @property
    def has_passed(self) -> bool:
        return not self.failures

    @property
    def sentence(self) -> str:
        """All that matters, in one line."""
        parts = list(self.failures)
        if self.words_lost:
            why = "lost on the network" if self.has_reference else "not understood"
            parts.append(f"{why}: {', '.join(self.words_lost)}")
        if not parts:
            parts.append("nothing was lost" if self.words_lost is not None else "all that was expected holds")
        if self.failures and self.fails_on_clean_link and not self.is_clean:
            parts.append("it fails on the clean link too")
        return "; ".join(parts)


def judge_call(
    scenario: Scenario,
    record: CallRecord,
    *,
    names: tuple[str | None, ...],
    clean: CallRecord | None,
    opinions: tuple[str, ...] = (),
) -> Verdict:
    """Judge a call under the condition and fault of these `names`, beside the same call on a clean link, or itself."""
    figures = measure(record)
    spoken = [step for step in scenario.steps if isinstance(step, Say)]
    said = words_of(" ".join(step.words or "" for step in spoken))
    here, there = record.text_of("user"), None if clean is None else clean.text_of("user")
    is_known = here is not None and bool(said) and all(step.words is not None for step in spoken)
    words_lost = None
    if is_known:
        words_lost = tuple(word for word in lost(said, here or "", there) if word not in scenario.ignore_words)
    failures = [*([] if record.error is None else [f"the call broke: {record.error}"])]
    failures += broken(scenario.expect, record)
    failures += opinions
    failures += _over(scenario.budgets_for(*names), figures, words_lost)
    clean_failures = [] if clean is None else broken(scenario.expect, clean)
    return Verdict(
        tuple(failures),
        figures,
        tuple(align(said, words_of(here or ""))) if is_known else None,
        words_lost,
        tuple(doubled(record.tools or [])),
        bool(clean_failures),
        clean is not None,
        clean is record,
    )


def _over(budgets: Budgets, figures: Figures, words_lost: tuple[str, ...] | None) -> Iterator[str]:
    """Yield a sentence for each budget that is exceeded."""
    answered = [each for each in figures.answers_ms if each is not None]
    for share, budget in ((0.5, budgets.answer_p50_ms), (0.99, budgets.answer_p99_ms)):
        if budget is not None:
            name = f"answer_p{round(share * 100)}_ms"
            missing = len(figures.answers_ms) - len(answered)
            if missing:
                yield f"{name}: {missing} of {len(figures.answers_ms)} utterances were never answered"
            elif (got := percentile(answered, share)) is not None and got > budget:
                yield f"{name}: {got:.0f} ms, budget {budget:.0f}"
    if budgets.words_lost is not None:
        if words_lost is None:
            yield "words_lost: cannot be counted: the driver gets no transcript"
        elif len(words_lost) > budgets.words_lost:
            yield f"words_lost: {len(words_lost)}, budget {budgets.words_lost}"
    longest = max(figures.barge_ins_ms, default=0.0)
    for name, got, budget in (
        ("silence_ms", figures.silence_ms, budgets.silence_ms),
        ("barge_in_ms", longest, budgets.barge_in_ms),
        ("duration_ms", figures.duration_ms, budgets.duration_ms),
    ):
        if budget is not None and got > budget:
            yield f"{name}: {got:.0f} ms, budget {budget:.0f}"
