"""A call in figures."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_client.call.report import failure, quantile
from voice_client.errors import AccessRefused, CallLost
from voice_client.events import Migration, Transcript

MIGRATION = Migration(at_s=1.23456, old="127.0.0.2:1", new="127.0.0.3:2", validated_ms=12.345, gap_ms=33.333)
STATE = {"seats": [{"row": 4, "seat": "C"}], "total": "9.00"}


def test_a_report_is_plain_json() -> None:
    report = replace(
        failure(CallLost("gone")),
        transcript=(Transcript(1, "user", "hello", True), Transcript(2, "user", "hel", False)),
        migrations=(MIGRATION,),
        rtts_ms=(1.0, 2.0, 30.04),
        state=STATE,
    )
    document = json.loads(json.dumps(report.as_json()))
    assert document["ok"] is False
    assert document["error"] == "gone"
    assert document["state"] == STATE
    assert document["transcript"] == [{"turn": 1, "role": "user", "text": "hello"}]
    assert document["migrations"] == [
        {"at_s": 1.235, "from": "127.0.0.2:1", "to": "127.0.0.3:2", "validated_ms": 12.3, "gap_ms": 33.3}
    ]
    assert document["rtt_ms"] == {"n": 3, "p50": 2.0, "p99": 30.0}


@pytest.mark.parametrize(
    ("is_complete", "error", "is_ok"), [(True, None, True), (True, "x", False), (False, None, False)]
)
def test_only_a_complete_call_without_error_is_ok(is_complete: bool, error: str | None, is_ok: bool) -> None:
    report = replace(failure(AccessRefused("no")), is_complete=is_complete, error=error)
    assert report.as_json()["ok"] is is_ok


@given(st.lists(st.integers(0, 1000), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_is_a_value_that_enough_do_not_exceed(values: list[int], share: float) -> None:
    found = quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert quantile([], share) is None
