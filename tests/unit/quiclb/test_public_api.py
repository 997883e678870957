from __future__ import annotations

import quiclb


def test_all_names_exist_and_are_sorted():
    assert all(hasattr(quiclb, name) for name in quiclb.__all__)
    assert quiclb.__all__ == sorted(quiclb.__all__)


def test_every_exception_has_one_root():
    errors = [value for name in quiclb.__all__ if name.endswith("Error") for value in [getattr(quiclb, name)]]
    assert len(errors) >= 5
    assert all(issubclass(error, quiclb.QuicLbError) for error in errors)
