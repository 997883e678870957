"""COMPLIANCE.md names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STATUSES = {"done", "partly", "left out", "planned", "operator"}


def rows() -> list[list[str]]:
    """The cells of every requirement: section, requirement, status, code, test."""
    lines = (ROOT / "COMPLIANCE.md").read_text().splitlines()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    return [row for row in table if row[0] != "Section" and not row[0].startswith("-")]


def test_every_row_is_complete():
    assert len(rows()) > 50
    for row in rows():
        assert len(row) == 5, row
        assert row[2].partition(":")[0] in STATUSES, row
        if row[2] == "done":
            assert "`" in row[3], f"no code named for {row[1]}"
            assert "`" in row[4], f"no test named for {row[1]}"


def named(column: int) -> list[str]:
    return sorted({name for row in rows() for name in re.findall(r"`([^`]+)`", row[column])})


@pytest.mark.parametrize("name", named(4))
def test_the_named_test_exists(name):
    path, _, function = name.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert function in functions


@pytest.mark.parametrize("path", [name for name in named(3) if name.startswith("quiclb/")])
def test_the_named_code_exists(path):
    assert (ROOT / path).is_file()
