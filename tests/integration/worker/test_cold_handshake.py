"""A worker whose file descriptors are used up before its first caller comes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.unit.voicelink.quic.harness import NOW, pem


def test_the_first_handshake_of_a_process_opens_no_file(tmp_path: Path) -> None:
    certificate, key = pem()
    (tmp_path / "leaf.pem").write_bytes(certificate)
    (tmp_path / "leaf.key").write_bytes(key)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.integration.support.programs.cold_handshake"),
            *(str(tmp_path / "leaf.pem"), str(tmp_path / "leaf.key"), str(NOW)),
        ],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == {"imported": [], "errors": 0}
