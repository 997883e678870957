from __future__ import annotations

import gc
import io

import pytest
import structlog

from quiclb.cli.main import main
from quiclb.logs import setup as log


@pytest.fixture
def quiclb(monkeypatch, capsys):
    """Run the command line: arguments in, exit status, standard output and standard error out."""

    def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["quiclb", *arguments])
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    yield run
    gc.enable()  # `serve` runs without until its settings are read
    log._deferred.clear()  # or the next test's first logger would set logging up once more
    structlog.reset_defaults()
