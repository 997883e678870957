"""`voice-eval`: evaluate a voice agent on bad networks from a terminal or in CI."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from quiclb.logs.command_output import print_json, run_command
from voice_eval.call.record import CallRecord
from voice_eval.drivers.base import Driver, Endpoint, load_driver
from voice_eval.errors import EvalError
from voice_eval.evaluation import Evaluation, Job, Plan, Result, new_seed
from voice_eval.network.condition import bundled_conditions, choose_conditions
from voice_eval.report.console import print_results
from voice_eval.report.html import html_page
from voice_eval.report.junit import junit_xml
from voice_eval.report.summary import About, document
from voice_eval.scenario.loading import load_scenarios, schema
from voice_eval.targets import options
from voice_eval.targets.base import Target
from voice_eval.targets.choice import TargetChoice, chosen_target
from voice_eval.verdict.judge import Judge

app = typer.Typer(
    name="voice-eval",
    help="Evaluate any voice agent on a bad network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
Scenarios = Annotated[list[str], typer.Argument(help="YAML files, folders, or the bundled set `orders`.")]


@app.command()
def run(
    scenarios: Scenarios,
    agent: Annotated[
        str | None, typer.Option(help="Agent of the gateway, as module:Class or by name, run on a cluster of its own.")
    ] = None,
    path: Annotated[Path | None, typer.Option(help="Folder with the agent's module.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of [agent.settings]; JSON values.")] = None,
    url: Annotated[str | None, typer.Option(help="A server; with --server, {port} is a free port.")] = None,
    server: Annotated[str | None, typer.Option(help="Command of the server of --url, or of a LiveKit agent.")] = None,
    driver: Annotated[str, typer.Option(help="Who calls: gateway, twilio, pipecat, ...")] = "gateway",
    option: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of the driver.")] = None,
    ca: Annotated[Path | None, typer.Option(help="PEM file of the authority that vouches for the server.")] = None,
    certificate_hash: Annotated[str | None, typer.Option(help="SHA-256 of the server's certificate, in hex.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with the access token.")] = None,
    conditions: Annotated[str, typer.Option(help="Names with commas, `all`, or trace files.")] = "all",
    condition_file: Annotated[list[Path] | None, typer.Option(help="YAML file with more conditions.")] = None,
    faults: Annotated[str, typer.Option(help="What to kill: none,worker,balancer,host,store,server,livekit.")] = "none",
    seed: Annotated[int | None, typer.Option(help="Of the links; default a new one, which is printed.")] = None,
    parallel: Annotated[int, typer.Option(help="Calls at once.", min=1)] = 4 * (os.cpu_count() or 1),
    reference: Annotated[bool, typer.Option(help="Call each scenario on a clean link too.")] = True,
    judge_url: Annotated[str | None, typer.Option(help="OpenAI-compatible API of a judge.")] = None,
    judge_model: Annotated[str, typer.Option(help="The judge's model.")] = "gpt-5-mini",
    judge_key_env: Annotated[str, typer.Option(help="Variable with the API key.")] = "OPENAI_API_KEY",
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write JSON; - for standard output.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with waveforms.")] = None,
) -> None:
    """Call an agent with scenarios under conditions and judge each call. Exit status 1: one failed, 2: a mistake."""
    console = Console(stderr=str(json_file) == "-", highlight=False)
    judge = None if judge_url is None else Judge(judge_url, judge_model, os.environ.get(judge_key_env))
    plan = Plan(
        load_scenarios(scenarios),
        choose_conditions(options.listed(conditions), condition_file or ()),
        options.faults(faults),
        seed=new_seed() if seed is None else seed,
        parallel=parallel,
        has_reference=reference,
        judge=judge,
    )
    chosen = load_driver(driver)
    secret = options.token("--token-file", token_file)
    endpoint = Endpoint(url or "", ca, certificate_hash, secret, options.pairs("--option", option or ()))
    choice = TargetChoice(
        agent=agent,
        path=path,
        settings=options.settings("--setting", setting or ()),
        server=server,
        endpoint=endpoint,
        faults=tuple(each for each in plan.faults if each is not None),
    )
    target = chosen_target(choice, chosen)
    began = time.monotonic()
    results = asyncio.run(_evaluated(plan, chosen, target, console))
    about = About(driver, choice.shown, plan.seed, parallel, round(time.monotonic() - began, 1), _now(), versions())
    _write(junit, lambda: junit_xml(results, about))
    _write(html, lambda: html_page(results, about))
    if str(json_file) == "-":
        print_json(document(results, about))
    else:
        _write(json_file, lambda: json.dumps(document(results, about), indent=2, default=str) + "\n")
    print_results(console, results, about)
    raise typer.Exit(0 if all(each.verdict.has_passed for each in results) else 1)


@app.command()
def check(scenarios: Scenarios) -> None:
    """Read scenarios and name every mistake; nothing is called."""
    for path, scenario in load_scenarios(scenarios):
        print(f"{path}: {scenario.name}, {len(scenario.steps)} steps")


@app.command("schema")
def print_schema() -> None:
    """Print the JSON schema of a scenario's file, for editors."""
    print_json(schema())


@app.command("conditions")
def print_conditions() -> None:
    """List the conditions of the package."""
    for name, condition in bundled_conditions().items():
        print(f"{name:14} {condition.description}")


def main() -> NoReturn:
    """Run the command; a mistake is one sentence and exit status 2."""
    run_command("voice-eval", _app, (OSError,))


def _app() -> None:
    try:
        app()
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
    except EvalError as error:
        print("\n".join(f"voice-eval: {line}" for line in str(error).splitlines()), file=sys.stderr)
        sys.exit(2)


async def _evaluated(plan: Plan, driver: type[Driver], target: Target, console: Console) -> list[Result]:
    done = 0
    total = len(plan.jobs())

    def on_call(job: Job, record: CallRecord) -> None:
        nonlocal done
        done += 1
        if console.is_terminal:
            console.print(f"{done}/{total} {job.name}", markup=False, style="dim")

    # what was started is ended, too, where a CI system's time limit ends this
    this = asyncio.current_task()
    if this is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with target:
        return await Evaluation(plan, driver, target, on_call).run()


def versions() -> dict[str, str]:
    """Return the versions of what took part, as far as it is installed here."""
    names = ("voice-eval", "voice-client", "voice-gateway", "pipecat-ai", "aiortc", "moq-rs", "livekit")
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _write(path: Path | None, made: Any) -> None:
    if path is not None and str(path) != "-":
        try:
            path.write_text(made(), encoding="utf-8")
        except OSError as error:
            raise EvalError(
                f"{path}: {(error.strerror or str(error)).lower()}: give a path that can be written"
            ) from None
