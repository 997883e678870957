"""The browsers that tests drive; a test without one is skipped."""

from __future__ import annotations

import os
from functools import cache
from typing import NoReturn

import pytest

from testbed.browsers.programs import find_or_install


@cache
def program(names: tuple[str, ...]) -> str:
    """The path of the first of these programs; the first name is also Debian's package.

    Without one the test is skipped, or fails where `STRICT=1` is set.
    """
    found = find_or_install(names)
    return found or missing(f"there is no {names[0]} on this machine; on Debian: apt-get install {names[0]}")


def missing(message: str) -> NoReturn:
    """Skip the test for want of a program, or fail it where `STRICT=1` is set."""
    if os.environ.get("STRICT") == "1":
        pytest.fail(message)
    pytest.skip(message)
