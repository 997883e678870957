from __future__ import annotations

import subprocess
import sys

import pytest

import quiclb


def test_all_names_exist_and_are_sorted():
    assert all(hasattr(quiclb, name) for name in quiclb.__all__)
    assert quiclb.__all__ == sorted(quiclb.__all__)


def test_every_exception_has_one_root():
    errors = [value for name in quiclb.__all__ if name.endswith("Error") for value in [getattr(quiclb, name)]]
    assert len(errors) >= 5
    assert all(issubclass(error, quiclb.QuicLbError) for error in errors)


@pytest.mark.parametrize(
    ("old", "new"), [("Forwarder", "LoadBalancer"), ("EnvelopeError", "SppError"), ("EnvelopeFault", "SppFault")]
)
def test_deprecated_names_lead_to_their_replacement(old, new):
    with pytest.warns(DeprecationWarning, match=f"quiclb.{old} is deprecated, use quiclb.{new}"):
        assert getattr(quiclb, old) is getattr(quiclb, new)


def test_other_names_are_none():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        quiclb.nonsense  # noqa: B018 - the lookup is the test


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("from quiclb import CidEncoder, CidDecoder, wrap", {"numpy", "pydantic", "structlog", "prometheus_client"}),
        ("import quiclb.cli.main, quiclb.daemon", {"structlog", "prometheus_client", "rich.console"}),
    ],
)
def test_nothing_is_loaded_before_it_is_needed(statement, absent):
    """Clients wait while a load balancer starts again."""
    program = f"{statement}; import sys; print(*({absent!r} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
