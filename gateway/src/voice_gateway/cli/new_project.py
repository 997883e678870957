"""`voice-gateway init`: a folder with an agent, its test and the settings of a worker that runs it."""

from __future__ import annotations

import keyword
import re
import sys
import time
from importlib import resources
from pathlib import Path
from string import Template
from typing import Annotated, Final

import typer
from rich.console import Console

from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.cli.programs import shell_command
from voice_gateway.errors import ConfigurationError

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_FILES: Final = {
    "agent.py.template": "{module}.py",
    "test_agent.py.template": "test_{module}.py",
    "worker.toml.template": "worker.toml",
    "README.md.template": "README.md",
}
_NOT_IN_GIT: Final = "certs/\nsessions.db*\n__pycache__/\n"


def init(
    folder: Annotated[Path, typer.Argument(metavar="NAME", help="The new folder; its name is the agent's.")],
) -> None:
    """Make a project in a new folder: an agent, its test, worker.toml, a development certificate and a README.

    `voice-gateway serve` runs it, `pytest` tests it.
    """
    name = folder.name
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or keyword.iskeyword(module):
        raise ConfigurationError(
            f"NAME must be lower-case letters, digits, - and _, a letter first, and no word of Python's, got {name!r}"
        )
    if module in sys.stdlib_module_names or module in (
        "voice_gateway",
        "voice_client",
        "voicelink",
        "quiclb",
        "pytest",
    ):
        raise ConfigurationError(f"NAME must not be that of a module that the project uses, got {name!r}")
    if folder.exists() or folder.is_symlink():
        raise ConfigurationError(f"{folder} exists already: give a new folder, or remove it")
    try:
        folder.mkdir(parents=True)
        _write(folder, name, module)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be made: {error.strerror}") from error
    ensure_certificate(folder / "certs", now=time.time(), hosts=(), is_forced=False)
    console = Console(markup=False, highlight=False)
    console.print(f"{folder}: {module}.py, test_{module}.py, worker.toml, README.md", soft_wrap=True)
    test, gateway = (shell_command(program, folder=folder) for program in ("pytest", "voice-gateway"))
    console.print(f"cd {folder} && {test} && PYTHONPATH=. {gateway} serve --config worker.toml", soft_wrap=True)


def _write(folder: Path, name: str, module: str) -> None:
    templates = resources.files("voice_gateway.cli") / "project"
    values = {"title": name, "module": module}
    for template, file in _FILES.items():
        text = Template((templates / template).read_text()).substitute(values)
        (folder / file.format(module=module)).write_text(text)
    (folder / ".gitignore").write_text(_NOT_IN_GIT)
