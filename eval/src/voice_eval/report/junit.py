"""JUnit XML, as CI systems read it: a suite for each condition, a case for each call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from voice_eval.evaluation import Result
from voice_eval.report.summary import About, label, labels

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def junit_xml(results: Sequence[Result], about: About) -> str:
    """Return the document."""
    root = ElementTree.Element("testsuites", name="voice-eval", time=f"{about.took_s:.1f}")
    for name in labels(results):
        calls = [each for each in results if label(each) == name]
        failed = sum(not each.verdict.has_passed for each in calls)
        suite = ElementTree.SubElement(
            root, "testsuite", name=name, tests=str(len(calls)), failures=str(failed), errors="0", timestamp=about.date
        )
        properties = ElementTree.SubElement(suite, "properties")
        for key, value in (("seed", about.seed), ("driver", about.driver), ("target", about.target)):
            ElementTree.SubElement(properties, "property", name=key, value=_clean(str(value)))
        for each in calls:
            seconds = f"{each.verdict.figures.duration_ms / 1000:.2f}"
            case = ElementTree.SubElement(
                suite, "testcase", classname=f"voice-eval.{name}", name=each.job.scenario.name, time=seconds
            )
            if not each.verdict.has_passed:
                failure = ElementTree.SubElement(case, "failure", message=_clean(each.verdict.failures[0]))
                failure.text = _clean("\n".join((*each.verdict.failures, each.verdict.sentence)))
            output = ElementTree.SubElement(case, "system-out")
            output.text = _clean(each.verdict.sentence)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _clean(text: str) -> str:
    """What XML cannot hold is left out."""
    return _NOT_XML.sub("", text)
