"""Pipecat imports modules that are deprecated in Python; here that is no error."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import pytest

if find_spec("pipecat") is not None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import pipecat.services.llm_service
        import pipecat.services.stt_service
        import pipecat.services.tts_service  # noqa: F401 - imported here once, without warnings


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/agents/pipecat" in str(item.path):
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning"))
