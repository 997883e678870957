"""One HTML file without anything from elsewhere: the table, and each call with its waveforms and its words."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from voice_eval.evaluation import Result
from voice_eval.report.console import shown_ms
from voice_eval.report.summary import About, label, labels, summaries
from voice_eval.report.waveform import waveform_svg

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --caller: #2b6cb0; --agent: #2f855a; --bad: #c53030; --good: #2f855a; }
@media (prefers-color-scheme: dark) { :root { --caller: #63b3ed; --agent: #68d391; --bad: #fc8181; --good: #68d391; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1020px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } .wide { overflow-x: auto; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } summary .why { opacity: .8; }
.passed { color: var(--good); } .failed { color: var(--bad); } .failed, .passed { font-weight: 600; }
svg { width: 100%; height: 106px; display: block; margin: .6rem 0; }
svg text { font-size: 11px; fill: currentColor; opacity: .7; }
.caller { fill: var(--caller); } .agent { fill: var(--agent); } .outage { fill: var(--bad); opacity: .18; }
line.fault { stroke: var(--bad); stroke-width: 2; } line.mark { stroke: currentColor; stroke-dasharray: 3 3; }
.lost { color: var(--bad); text-decoration: line-through; } .wrong { border-bottom: 2px dotted var(--bad); }
.key span { margin-right: 1.2rem; } .key i { display: inline-block; width: .8em; height: .8em; margin-right: .3em; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; } code { word-break: break-word; }
"""


def html_page(results: Sequence[Result], about: About) -> str:
    """Return the page; calls that failed are open."""
    failed = sum(not each.verdict.has_passed for each in results)
    verdict = f"{failed} of {len(results)} calls failed" if failed else f"all {len(results)} calls passed"
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
            'content="width=device-width, initial-scale=1"><title>voice-eval</title>',
            f"<style>{_STYLE}</style></head><body><h1>Voice evaluation: ",
            f'<span class="{"failed" if failed else "passed"}">{verdict}</span></h1>',
            f"<p>{escape(about.target)} by the driver <code>{escape(about.driver)}</code>, {escape(about.date)}, ",
            f"in {about.took_s:.0f} s. The same links again: <code>--seed {about.seed}</code></p>",
            _table(results),
            '<p class="key"><span><i style="background:var(--caller)"></i>caller</span>'
            '<span><i style="background:var(--agent)"></i>agent, as heard</span>'
            '<span><i style="background:var(--bad);opacity:.3"></i>nothing passes</span></p>',
            *(_condition(name, [each for each in results if label(each) == name]) for name in labels(results)),
            "</body></html>\n",
        )
    )


def _table(results: Sequence[Result]) -> str:
    names = (
        "condition",
        "passed",
        "words lost",
        "answer p50",
        "p99",
        "unanswered",
        "silence",
        "called twice",
        "broken",
    )
    rows = [
        (
            escape(each.condition),
            f"{each.passed} of {each.calls}",
            f"{each.words_lost} of {each.words}",
            shown_ms(each.answer_p50_ms),
            shown_ms(each.answer_p99_ms),
            str(each.unanswered),
            shown_ms(each.silence_ms),
            str(each.tools_doubled),
            str(each.broken),
        )
        for each in summaries(results)
    ]
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _condition(name: str, calls: Sequence[Result]) -> str:
    described = escape(calls[0].job.condition.description)
    return f"<h2>{escape(name)}</h2><p>{described}</p>" + "".join(_call(each) for each in calls)


def _call(result: Result) -> str:
    verdict, record = result.verdict, result.record
    kind = "passed" if verdict.has_passed else "failed"
    parts = [
        f'<details{"" if verdict.has_passed else " open"}><summary><span class="{kind}">{kind}</span> ',
        f'{escape(result.job.scenario.name)} <span class="why">{escape(verdict.sentence)}</span></summary>',
        waveform_svg(record),
        "<dl>",
    ]
    if verdict.words is not None:
        parts.append(f"<dt>What the caller said</dt><dd>{_words(result)}</dd>")
    if record.lines is not None:
        lines = "<br>".join(f"{escape(line.role)}: {escape(line.text)}" for line in record.lines)
        parts.append(f"<dt>Transcript of the agent's side</dt><dd>{lines or 'empty'}</dd>")
    if record.state is not None:
        parts.append(f"<dt>State</dt><dd><code>{escape(str(dict(record.state)))}</code></dd>")
    if record.tools:
        calls = "<br>".join(
            f"{escape(each.name)} <code>{escape(str(dict(each.arguments)))}</code>" for each in record.tools
        )
        parts.append(f"<dt>Tools called</dt><dd>{calls}</dd>")
    answers = ", ".join(shown_ms(each) if each is not None else "never" for each in verdict.figures.answers_ms)
    figures = f"answers after {answers or '-'}; silence within answers {shown_ms(verdict.figures.silence_ms)}"
    if verdict.figures.barge_ins_ms:
        figures += f"; silent after barge-in in {', '.join(map(shown_ms, verdict.figures.barge_ins_ms))}"
    parts.append(f"<dt>Times</dt><dd>{figures}</dd>")
    if record.marks:
        marks = "<br>".join(f"{each.at_s:.1f} s {escape(each.kind)}: {escape(each.text)}" for each in record.marks)
        parts.append(f"<dt>What happened to it</dt><dd>{marks}</dd>")
    return "".join(parts) + "</dl></details>"


def _words(result: Result) -> str:
    shown = []
    for word in result.verdict.words or ():
        if word.is_right:
            shown.append(escape(word.text))
        elif word.got is None:
            shown.append(f'<span class="lost">{escape(word.text)}</span>')
        else:
            shown.append(f'<span class="wrong" title="understood: {escape(word.got)}">{escape(word.text)}</span>')
    return " ".join(shown)
