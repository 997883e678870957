"""The client's packages can be imported where servers' modules and Linux's socket options are absent."""

from __future__ import annotations

import subprocess
import sys

import pytest

ABSENT_MODULES = ("uvloop", "prometheus_client", "pydantic", "pydantic_settings", "fcntl", "resource", "sounddevice")
LINUX_SOCKET_NAMES = (
    "SO_REUSEPORT",
    "SO_BINDTODEVICE",
    "SO_MARK",
    "AF_UNIX",
    "AF_NETLINK",
    "AF_PACKET",
    "IP_MTU_DISCOVER",
    "IP_PKTINFO",
    "IP_RECVERR",
    "IPV6_RECVPKTINFO",
    "CMSG_LEN",
    "CMSG_SPACE",
    "recv_fds",
    "send_fds",
)
IMPORT_ALL = f"""
import importlib, pkgutil, signal, socket, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT_MODULES!r}:
            raise ModuleNotFoundError(f"{{name}} is absent on this platform", name=name)

for name in sys.argv[2:]:
    if hasattr(socket, name):
        delattr(socket, name)
for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"):
    delattr(signal, name)
sys.meta_path.insert(0, Absent())
package = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(found.name)
"""


@pytest.mark.parametrize("package", ["voice_client", "voicelink"])
def test_all_modules_can_be_imported_without_what_other_platforms_lack(package: str) -> None:
    command = [sys.executable, "-W", "error", "-c", IMPORT_ALL, package, *LINUX_SOCKET_NAMES]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert outcome.returncode == 0, outcome.stderr


def test_the_check_fails_for_a_package_that_needs_them() -> None:
    command = [sys.executable, "-c", IMPORT_ALL, "quiclb", *LINUX_SOCKET_NAMES]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "ModuleNotFoundError: " in outcome.stderr
