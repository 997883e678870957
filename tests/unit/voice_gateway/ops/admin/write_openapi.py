"""Writes `gateway/docs/openapi.json` anew: `python -m tests.unit.voice_gateway.ops.admin.write_openapi`."""

from __future__ import annotations

from pathlib import Path

from tests.unit.voice_gateway.ops.admin.harness import AdminBench
from voice_gateway.ops.admin.operations import openapi_text

DOCUMENT = Path(__file__).parents[5] / "gateway" / "docs" / "openapi.json"


def current() -> str:
    """Return the document of the operations there are."""
    return openapi_text(AdminBench().operations)


if __name__ == "__main__":
    DOCUMENT.write_text(current())
