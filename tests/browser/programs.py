"""The browsers of this machine: found or, for root on Debian, installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from typing import NoReturn

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FIREFOX = ("firefox-esr", "firefox")


@cache
def program(names: tuple[str, ...]) -> str:
    """The path of the first of these programs; the first name is also Debian's package.

    Without one the test is skipped, or fails where `STRICT=1` is set.
    """
    package = names[0]
    if found := find(names):
        return found
    if os.geteuid() == 0 and shutil.which("apt-get") is not None:
        install, update = ["apt-get", "install", "-qq", "-y", package], ["apt-get", "update", "-qq"]
        for command in (install, update, install):
            subprocess.run(command, capture_output=True, check=False)
            if found := find(names):
                return found
    return missing(f"there is no {package} on this machine; on Debian: apt-get install {package}")


def find(names: tuple[str, ...]) -> str | None:
    return next((found for name in names if (found := shutil.which(name))), None)


def missing(message: str) -> NoReturn:
    """Skip the test for want of a program, or fail it where `STRICT=1` is set."""
    if os.environ.get("STRICT") == "1":
        pytest.fail(message)
    pytest.skip(message)
