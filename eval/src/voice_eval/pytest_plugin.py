"""pytest plugin: scenario files become tests, one for each condition, whose calls are all made at once.

    pytest --voice-agent shop:Waiter --voice-conditions train,blackout-2s evals/

Files `*.voice.yaml` are collected. The options are also ini settings (`voice_agent = shop:Waiter`). Without an agent or
a URL nothing is collected.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from voice_eval.drivers.base import Endpoint, load_driver
from voice_eval.errors import EvalError
from voice_eval.evaluation import Evaluation, Job, Plan, Result, new_seed
from voice_eval.network.condition import choose_conditions
from voice_eval.scenario.loading import load_scenario
from voice_eval.targets import options
from voice_eval.targets.choice import TargetChoice, chosen_target
from voice_eval.verdict.judge import Judge

SUFFIX = ".voice.yaml"
_OPTIONS = {
    "agent": "agent of the gateway, as module:Class, run on a cluster of its own",
    "path": "folder with the agent's module (default: rootdir)",
    "url": "server that runs, in place of an agent",
    "server": "command that starts the server of the URL, or a LiveKit agent",
    "driver": "who calls (default: gateway)",
    "ca": "PEM file of the authority that vouches for the server",
    "certificate-hash": "SHA-256 of the server's certificate, in hex",
    "token-file": "file with the access token",
    "conditions": "conditions with commas (default: clean)",
    "faults": "what to kill, with commas (default: none)",
    "seed": "seed of the links (default: a new one, which is reported)",
    "parallel": "calls at once (default: 8)",
    "judge-url": "OpenAI-compatible API of a judge",
    "judge-model": "the judge's model (default: gpt-5-mini)",
    "judge-key-env": "variable with the judge's API key (default: OPENAI_API_KEY)",
}
_REPEATED = {
    "setting": "KEY=VALUE of [agent.settings]; JSON values",
    "option": "KEY=VALUE of the driver",
    "condition-file": "YAML file with more conditions",
}
"""These may be given more than once; in the settings file a line each."""
_DEFAULTS = {
    "driver": "gateway",
    "conditions": "clean",
    "faults": "none",
    "parallel": "8",
    "judge-model": "gpt-5-mini",
    "judge-key-env": "OPENAI_API_KEY",
}
_RUN = pytest.StashKey["Calls"]()


class VerdictFailed(AssertionError):  # noqa: N818 - the name says what happened
    """A call did not pass."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("voice-eval", "voice agents on bad networks")
    for name, text in _OPTIONS.items():
        group.addoption(f"--voice-{name}", default=None, help=text)
        parser.addini(_setting(name), text, default="")
    for name, text in _REPEATED.items():
        group.addoption(f"--voice-{name}", action="append", default=None, help=text)
        parser.addini(_setting(name), text, type="linelist", default=[])


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
        config = self._config
        return Plan(
            scenarios,
            choose_conditions(
                options.listed(_option(config, "conditions")),
                [Path(each) for each in _repeated(config, "condition-file")],
            ),
            options.faults(_option(config, "faults")),
            seed=self.seed,
            parallel=int(_option(config, "parallel")),
            judge=_chosen_judge(config),
        )

    def result(self, item: ScenarioItem) -> Result:
        """Return the result of a test, making the calls of all tests that were selected."""
        if self._results is None:
            chosen = [each for each in item.session.items if isinstance(each, ScenarioItem)]
            self._results = {each.job.name: each for each in asyncio.run(self._made(chosen))}
        return self._results[item.job.name]

    async def _made(self, items: list[ScenarioItem]) -> list[Result]:
        config = self._config
        choice = TargetChoice(
            agent=_option(config, "agent") or None,
            path=_path(config, "path") or config.rootpath,
            settings=options.settings("--voice-setting", _repeated(config, "setting")),
            server=_option(config, "server") or None,
            endpoint=_endpoint(config),
            faults=tuple(each for each in options.faults(_option(config, "faults")) if each is not None),
        )
        driver = load_driver(_option(config, "driver"))
        scenarios = list({item.path: (item.path, item.job.scenario) for item in items}.values())
        async with chosen_target(choice, driver) as target:
            return await Evaluation(self.plan(scenarios), driver, target).run()


def _calls(config: pytest.Config) -> Calls:
    if _RUN not in config.stash:
        config.stash[_RUN] = Calls(config)
    return config.stash[_RUN]


def _endpoint(config: pytest.Config) -> Endpoint:
    return Endpoint(
        _option(config, "url"),
        _path(config, "ca"),
        _option(config, "certificate-hash") or None,
        options.token("--voice-token-file", _path(config, "token-file")),
        options.pairs("--voice-option", _repeated(config, "option")),
    )


def _chosen_judge(config: pytest.Config) -> Judge | None:
    url = _option(config, "judge-url")
    key = os.environ.get(_option(config, "judge-key-env"))
    return Judge(url, _option(config, "judge-model"), key) if url else None


def _option(config: pytest.Config, name: str) -> str:
    return str(config.getoption(_setting(name)) or config.getini(_setting(name)) or _DEFAULTS.get(name, ""))


def _repeated(config: pytest.Config, name: str) -> list[str]:
    return list(config.getoption(_setting(name)) or config.getini(_setting(name)))


def _path(config: pytest.Config, name: str) -> Path | None:
    given = _option(config, name)
    return Path(given) if given else None


def _setting(name: str) -> str:
    return f"voice_{name.replace('-', '_')}"
