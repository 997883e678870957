"""The browsers of this machine: found or, for root on Debian, installed."""

from __future__ import annotations

import os
import shutil
import subprocess

CHROMIUM = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FIREFOX = ("firefox-esr", "firefox")


def find(names: tuple[str, ...]) -> str | None:
    """The path of the first of these programs that is there."""
    return next((found for name in names if (found := shutil.which(name))), None)


def find_or_install(names: tuple[str, ...]) -> str | None:
    """The same, once Debian's package, which has the first name, is installed where that is possible."""
    if found := find(names):
        return found
    if os.geteuid() == 0 and shutil.which("apt-get") is not None:
        install, update = ["apt-get", "install", "-qq", "-y", names[0]], ["apt-get", "update", "-qq"]
        for command in (install, update, install):
            subprocess.run(command, capture_output=True, check=False)
            if found := find(names):
                return found
    return None
