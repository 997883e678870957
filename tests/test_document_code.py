"""What the documents show as code is right as far as it can be read without running it."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from quiclb.cli.main import app as quiclb_app
from tests.test_documents import DOCUMENTS, ROOT
from voice_client.cli.main import app as client_app
from voice_gateway.cli.main import app as gateway_app
from voicelink.errors import MissingDependencyError

OURS = ("quiclb", "voicelink", "voice_gateway", "voice_client")
PROGRAMS = {"quiclb": quiclb_app, "voice-gateway": gateway_app, "voice-client": client_app}
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    document: Path
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    found = []
    for document in DOCUMENTS:
        text = document.read_text()
        for fence in _FENCE.finditer(text):
            if fence[1] in languages:
                found.append(Block(document, text.count("\n", 0, fence.start()) + 1, fence[1], fence[2]))
    return found


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_can_be_read_and_imports_what_there_is(block: Block) -> None:
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(block.code, str(block), "exec", flags=flags, dont_inherit=True)
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node.module is None or node.module.partition(".")[0] not in OURS:
            continue
        module = _imported(node.module)
        if module is not None:
            assert [each.name for each in node.names if not hasattr(module, each.name)] == []


def _imported(name: str) -> ModuleType | None:
    """The module; `None` where a package of an extra that it needs is not installed here."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in OURS:
            raise
    except MissingDependencyError:
        pass
    return None


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml_can_be_read(block: Block) -> None:
    files = re.split(r"^# \S+\.toml\b.*$", block.code, flags=re.MULTILINE)
    for each in files:
        tomllib.loads(each)


def commands(text: str) -> list[list[str]]:
    """The words of each command of ours behind a prompt, in backticks, or alone on a line of a shell block."""
    found = re.findall(
        r"(?:\$ |`|^)(?:\.venv/bin/)?((?:make|quiclb|voice-gateway|voice-client) [^`\n]*)", text, re.MULTILINE
    )
    return [each.split() for each in found]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for program, *words in commands(document.read_text()):
        if program == "make":
            named = [word for word in words if re.fullmatch(r"[a-z-]+", word)][:1]
            assert set(named) <= targets, words
            continue
        command = get_command(PROGRAMS[program])
        for word in words:
            if not isinstance(command, TyperGroup) or not re.fullmatch(r"[a-z][a-z-]*", word):
                break
            assert word in command.commands, f"{program} {' '.join(words)}"
            command = command.commands[word]


def test_commands_are_found() -> None:
    """The control of the test above."""
    text = "$ make demo\nor `voice-gateway check --config x`\nvoice-client call x.wav\n"
    assert [each[:2] for each in commands(text)] == [
        ["make", "demo"],
        ["voice-gateway", "check"],
        ["voice-client", "call"],
    ]
