from __future__ import annotations

from pathlib import Path

import pytest

from tests.trials.trial import install_and_check

pytestmark = pytest.mark.timeout(500)


def test_a_datapath_from_outside_is_chosen_by_name_and_passes_the_contract(tmp_path: Path) -> None:
    assert "passed" in install_and_check("toy_datapath", tmp_path)
