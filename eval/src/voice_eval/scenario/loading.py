"""From YAML files to scenarios; each mistake is one line that names file, key, value and remedy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from voice_eval.errors import ScenarioError
from voice_eval.scenario.model import STEPS, Scenario

_M = TypeVar("_M", bound=BaseModel)
SUFFIXES = (".yaml", ".yml")
BUNDLED = ("orders",)
"""Sets of scenarios in the package, which a command names without a path."""


def load_scenarios(names: Iterable[str]) -> list[tuple[Path, Scenario]]:
    """Read files, folders and bundled sets, in order; raises `ScenarioError`."""
    found: list[tuple[Path, Scenario]] = []
    for name in names:
        found += [(path, load_scenario(path)) for path in scenario_files(name)]
    first_at: dict[str, Path] = {}
    for path, scenario in found:
        other = first_at.setdefault(scenario.name, path)
        if other != path:
            raise ScenarioError(f"{path}: name: {scenario.name!r} is that of {other} too: give each its own")
    return found


def scenario_files(name: str) -> list[Path]:
    """Return the files that a name means, sorted; raises `ScenarioError` where there are none."""
    path = Path(name)
    if not path.exists() and name in BUNDLED:
        path = Path(str(resources.files("voice_eval"))) / "scenarios" / name
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ScenarioError(f"{name}: no such file, folder or set: give a YAML file, a folder or {', '.join(BUNDLED)}")
    files = sorted(each for each in path.rglob("*") if each.suffix in SUFFIXES)
    if not files:
        raise ScenarioError(f"{name}: the folder has no scenario: give one with files *.yaml")
    return files


def load_scenario(path: Path) -> Scenario:
    """Read one file; raises `ScenarioError`."""
    document = load_yaml(path)
    if isinstance(document, dict) and isinstance(document.get("steps"), list):
        for number, step in enumerate(document["steps"]):
            _check_step(path, number, step)
    return validated(Scenario, document, str(path))


def load_yaml(path: Path) -> Any:
    """Read a YAML document; raises `ScenarioError` with line and column."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path}: the file is not UTF-8: save it as such") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f":{mark.line + 1}:{mark.column + 1}"
        raise ScenarioError(f"{path}{place}: no YAML: {getattr(error, 'problem', None) or error}") from None


def validated(model: type[_M], document: Any, place: str) -> _M:
    """Return the model of a document; raises `ScenarioError` with a line for each mistake."""
    if not isinstance(document, dict):
        raise ScenarioError(f"{place}: got {shown(document)}: give a map with the keys of {model.__name__.lower()}")
    try:
        # strict, but with JSON's lists for tuples
        return model.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise ScenarioError("\n".join(f"{place}: {_sentence(model, each)}" for each in error.errors())) from None


def schema() -> dict[str, Any]:
    """Return the JSON schema of a scenario's file."""
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "voice-eval scenario"}
    return Scenario.model_json_schema() | about


def _check_step(path: Path, number: int, step: Any) -> None:
    """A union's errors name each of its classes: check a step against the one that it is meant to be."""
    place = f"{path}: steps[{number}]"
    if not isinstance(step, dict):
        raise ScenarioError(f"{place}: got {shown(step)}: give a map such as {{say: hello}}")
    meant = [key for key in STEPS if key in step]
    if not meant:
        raise ScenarioError(f"{place}: got the keys {', '.join(map(str, step)) or 'none'}: a step has one of {_list()}")
    validated(STEPS[meant[0]], step, place)


def _list() -> str:
    return ", ".join(STEPS)


def _sentence(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    where = _where(error["loc"])
    value, kind = error["input"], error["type"]
    if kind == "missing":
        return f"{where}: missing: add it"
    if kind == "extra_forbidden":
        return f"{where}: unknown key, value {shown(value)}: {_known(model, error['loc'])}"
    reason = str(error["msg"]).removeprefix("Value error, ")
    return (
        f"{where}: {reason[:1].lower()}{reason[1:]}, got {shown(value)}" if where else f"{reason}, got {shown(value)}"
    )


def _known(model: type[BaseModel], loc: Sequence[str | int]) -> str:
    current: Any = model
    for key in loc[:-1]:
        field = getattr(current, "model_fields", {}).get(key)
        current = None if field is None else field.annotation
    fields = getattr(current, "model_fields", None)
    return "remove it" if not fields else f"use one of {', '.join(fields)}, or remove it"


def _where(loc: Sequence[str | int]) -> str:
    text = ""
    for key in loc:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def shown(value: Any) -> str:
    """A value as it stands in a message, cut at 60 characters."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
