"""Datagrams that the SPP header makes too large for the path are dropped whole and counted, never cut in pieces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from quiclb.net.spp import HEADER_LENGTH
from tests.integration.support.programs.narrow_path import SIZES
from tests.integration.support.programs.narrow_start import GOOD, LOST, STARTED

HAS_NAMESPACES = os.geteuid() == 0 and shutil.which("unshare") is not None and shutil.which("ip") is not None


@pytest.mark.skipif(not os.environ.get("STRICT") and not HAS_NAMESPACES, reason="network namespaces need root")
@pytest.mark.parametrize("family", ["v4", "v6"])
@pytest.mark.parametrize("datapath", ["vectorised", "asyncio"])
def test_too_large_with_the_spp_header_is_dropped_and_counted(family, datapath):
    command = [
        "unshare",
        "--net",
        sys.executable,
        "-m",
        "tests.integration.support.programs.narrow_path",
        family,
        datapath,
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    seen = json.loads(ended.stdout)
    small, _ = SIZES[family]
    assert seen["arrived"] == [small + HEADER_LENGTH] * 2
    assert seen["backlog"] == 0
    assert seen["send_errors"] == [["inner", "EMSGSIZE", 1]]
    # two forwarded inward and two outward, none of which a router may cut
    assert len(seen["sent"]) >= 4
    assert not any(seen["sent"])


@pytest.mark.skipif(not os.environ.get("STRICT") and not HAS_NAMESPACES, reason="network namespaces need root")
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_path_too_narrow_for_clients_first_datagrams_is_named_with_the_bytes_needed(processes):
    """1,200 of an Initial (RFC 9000 14.1), 38 of SPP, 8 of UDP, 40 of IPv6: 1,286, more than IPv6's least MTU."""
    command = ["unshare", "--net", sys.executable, "-m", "tests.integration.support.programs.narrow_start", processes]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    seen = json.loads(ended.stdout)
    fault = "too large for the path to backend 'a' at [::1]:4433: 1286 bytes needed, the route's MTU is 1280"
    assert f"path: {fault}" in seen["check"].splitlines()
    assert [entry["event"] for entry in seen["events"]] == [LOST, STARTED, GOOD, LOST]
    assert seen["events"][0]["fault"] == seen["events"][3]["fault"] == fault
    assert (seen["events"][0]["needed_bytes"], seen["events"][0]["mtu_bytes"]) == (1286, 1280)
    assert seen["arrived"] == 1238
