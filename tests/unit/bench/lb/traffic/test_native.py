"""The C reference decodes what the draft's vectors say, with AES instructions and without."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.lb.traffic import native

VECTORS = json.loads((Path(__file__).parents[4] / "vectors" / "quiclb_vectors.json").read_text())["vectors"]

pytestmark = pytest.mark.skipif(
    not os.environ.get("STRICT") and not (shutil.which("gcc") or shutil.which("cc")), reason="no C compiler"
)


@pytest.fixture(scope="module", params=[False, True], ids=["native", "portable"])
def reference(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    return native.build(folder, ["reference"], is_portable=request.param)["reference"]


def decode(reference: Path, config: str, cid: str) -> str:
    command = [str(reference), "--decode", "--config", config]
    return subprocess.run(command, input=cid + "\n", capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_server_id_of_a_vector(reference: Path, vector: dict[str, str | int | None]) -> None:
    config = f"{vector['config_rotation']},{vector['server_id_len']},{vector['nonce_len']}"
    if vector["key"] is not None:
        config += f",{vector['key']}"
    assert decode(reference, config, str(vector["cid"])) == vector["server_id"]


@pytest.mark.parametrize("cid", ["27c4605e4504cc4f", "e7c4605e4504cc4f", "07c4605e4504cc"])
def test_other_codepoints_and_short_ones_are_unroutable(reference: Path, cid: str) -> None:
    assert decode(reference, "0,3,4", cid) == "unroutable"
