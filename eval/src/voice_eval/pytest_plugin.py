"""pytest plugin: scenario files become tests, one for each condition, whose calls are all made at once.

    pytest --voice-agent shop:Waiter --voice-conditions train,blackout-2s evals/

Files `*.voice.yaml` are collected. The options are also ini settings (`voice_agent = shop:Waiter`). Without an agent or
a URL nothing is collected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from voice_eval.drivers.base import Endpoint, load_driver
from voice_eval.errors import EvalError
from voice_eval.evaluation import Evaluation, Job, Plan, Result, new_seed
from voice_eval.network.condition import choose_conditions
from voice_eval.scenario.loading import load_scenario
from voice_eval.targets.choice import TargetChoice, chosen_target

SUFFIX = ".voice.yaml"
_OPTIONS = {
    "agent": "agent of the gateway, as module:Class, run on a cluster of its own",
    "path": "folder with the agent's module (default: rootdir)",
    "url": "server that runs, in place of an agent",
    "server": "command that starts the server of the URL",
    "driver": "who calls (default: gateway)",
    "ca": "PEM file of the authority that vouches for the server",
    "conditions": "conditions with commas (default: clean)",
    "faults": "what to kill, with commas (default: none)",
    "seed": "seed of the links (default: a new one, which is reported)",
    "parallel": "calls at once (default: 8)",
}
_DEFAULTS = {"driver": "gateway", "conditions": "clean", "faults": "none", "parallel": "8"}
_RUN = pytest.StashKey["Calls"]()


class VerdictFailed(AssertionError):  # noqa: N818 - the name says what happened
    """A call did not pass."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("voice-eval", "voice agents on bad networks")
    for name, text in _OPTIONS.items():
        group.addoption(f"--voice-{name}", default=None, help=text)
        parser.addini(f"voice_{name}", text, default="")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.name.endswith(SUFFIX) and _is_on(parent.config):
        return ScenarioFile.from_parent(parent, path=file_path)
    return None


def pytest_report_header(config: pytest.Config) -> str | None:
    is_on = _is_on(config)
    return f"voice-eval: --voice-seed {_calls(config).seed}" if is_on else None


def _is_on(config: pytest.Config) -> bool:
    return any(_option(config, name) for name in ("agent", "url", "server"))


class ScenarioFile(pytest.File):
    """A scenario: a test for each condition and fault."""

    def collect(self) -> Iterator[pytest.Item]:
        try:
            scenario = load_scenario(self.path)
            calls = _calls(self.config)
            jobs = calls.plan([(self.path, scenario)]).jobs()
        except EvalError as error:
            raise self.CollectError(str(error)) from None
        for job in jobs:
            name = job.name.removeprefix(scenario.name)
            yield ScenarioItem.from_parent(self, name=f"{scenario.name}{name}", job=job)


class ScenarioItem(pytest.Item):
    """One call."""

    def __init__(self, *, job: Job, **named: Any) -> None:
        super().__init__(**named)
        self.job = job

    def runtest(self) -> None:
        try:
            result = _calls(self.config).result(self)
        except EvalError as error:
            pytest.fail(f"voice-eval: {error}", pytrace=False)
        self.add_report_section("call", "voice-eval", result.verdict.sentence)
        self.user_properties.append(("verdict", result.verdict.sentence))
        if not result.verdict.has_passed:
            raise VerdictFailed("\n".join((*result.verdict.failures, result.verdict.sentence)))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        return str(excinfo.value) if isinstance(excinfo.value, VerdictFailed) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name


class Calls:
    """All calls of a session: made together when the first test wants its result."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.seed = int(_option(config, "seed") or new_seed())
        self._results: dict[str, Result] | None = None

    def plan(self, scenarios: Any) -> Plan:
        option = _option
        conditions = choose_conditions(_listed(option(self._config, "conditions")))
        faults = [None if each == "none" else each for each in _listed(option(self._config, "faults"))]
        parallel = int(option(self._config, "parallel"))
        return Plan(scenarios, conditions, faults, seed=self.seed, parallel=parallel)

    def result(self, item: ScenarioItem) -> Result:
        """Return the result of a test, making the calls of all tests that were selected."""
        if self._results is None:
            chosen = [each for each in item.session.items if isinstance(each, ScenarioItem)]
            self._results = {each.job.name: each for each in asyncio.run(self._made(chosen))}
        return self._results[item.job.name]

    async def _made(self, items: list[ScenarioItem]) -> list[Result]:
        config = self._config
        ca = _option(config, "ca")
        choice = TargetChoice(
            agent=_option(config, "agent") or None,
            path=Path(_option(config, "path") or config.rootpath),
            server=_option(config, "server") or None,
            endpoint=Endpoint(_option(config, "url"), Path(ca) if ca else None),
            faults=tuple(each for each in _listed(_option(config, "faults")) if each != "none"),
        )
        driver = load_driver(_option(config, "driver"))
        scenarios = list({item.path: (item.path, item.job.scenario) for item in items}.values())
        async with chosen_target(choice, driver) as target:
            return await Evaluation(self.plan(scenarios), driver, target).run()


def _calls(config: pytest.Config) -> Calls:
    if _RUN not in config.stash:
        config.stash[_RUN] = Calls(config)
    return config.stash[_RUN]


def _option(config: pytest.Config, name: str) -> str:
    given = config.getoption(f"voice_{name}")
    return str(given or config.getini(f"voice_{name}") or _DEFAULTS.get(name, ""))


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]
