from __future__ import annotations

from pathlib import Path

import pytest

from tests.trials.trial import HERE, install_and_check

pytestmark = pytest.mark.timeout(500)


def test_a_vendor_from_outside_is_chosen_by_name_and_passes_the_contract(tmp_path: Path) -> None:
    assert "passed" in install_and_check("toy_vendor", tmp_path)


def test_it_is_one_file_under_200_lines() -> None:
    [file] = (HERE / "toy_vendor" / "src").rglob("*.py")
    assert len(file.read_text().splitlines()) < 200
