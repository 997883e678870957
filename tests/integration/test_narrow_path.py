"""Datagrams that the envelope makes too large for the path are dropped whole and counted, never cut in pieces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from quiclb.envelope import HEADER_LENGTH
from tests.integration.narrow_path import SIZES

HAS_NAMESPACES = os.geteuid() == 0 and shutil.which("unshare") is not None and shutil.which("ip") is not None


@pytest.mark.skipif(not os.environ.get("STRICT") and not HAS_NAMESPACES, reason="network namespaces need root")
@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize("datapath", ["vectorised", "asyncio"])
def test_too_large_with_the_envelope_is_dropped_and_counted(family, datapath):
    command = ["unshare", "--net", sys.executable, "-m", "tests.integration.narrow_path", family, datapath]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    seen = json.loads(ended.stdout)
    small, _ = SIZES[family]
    assert seen["arrived"] == [small + HEADER_LENGTH] * 2
    assert seen["backlog"] == 0
    assert seen["send_errors"] == [["inner", "EMSGSIZE", 1]]
    # two forwarded inward and two outward, none of which a router may cut
    assert len(seen["sent"]) >= 4
    assert not any(seen["sent"])
