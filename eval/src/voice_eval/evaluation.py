"""Scenarios by conditions by faults: runs the calls, many at once, and judges each beside its call on a clean link."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from voice_eval.call.caller import Caller
from voice_eval.call.record import CallRecord, Mark
from voice_eval.call.speech import spoken
from voice_eval.drivers.base import Dialling, Driver
from voice_eval.errors import EvalError
from voice_eval.network.condition import CLEAN, Condition
from voice_eval.network.path import LinkPaths, Outage
from voice_eval.network.trace import Trace
from voice_eval.scenario.model import Say, Scenario
from voice_eval.targets.base import Strike, Target
from voice_eval.verdict.judge import Judge
from voice_eval.verdict.verdict import Verdict, judge_call

FAULT_AFTER_S = 0.7
"""How long after a caller's first word a fault strikes: in the middle of the first sentence."""


@dataclass(frozen=True, slots=True)
class Job:
    """One call to be made; `fault` is what is killed in it, `None` for nothing."""

    scenario: Scenario
    folder: Path
    condition: Condition
    trace: Trace | None
    fault: str | None

    @property
    def name(self) -> str:
        """Unique in an evaluation."""
        fault = "" if self.fault is None else f"+{self.fault}"
        return f"{self.scenario.name}[{self.condition.name}{fault}]"

    @property
    def is_clean(self) -> bool:
        return self.condition.name == CLEAN and self.fault is None


@dataclass(frozen=True, slots=True)
class Result:
    """A call that was made, and its verdict."""

    job: Job
    record: CallRecord
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Plan:
    """What is evaluated. `seed` replays the links: the same seed has the same spells of loss at the same instants."""

    scenarios: Sequence[tuple[Path, Scenario]]
    conditions: Sequence[tuple[Condition, Trace | None]]
    faults: Sequence[str | None] = (None,)
    seed: int = 0
    parallel: int = 8
    has_reference: bool = True
    """Whether each scenario is called on a clean link too, to tell what the network does from what the agent does."""
    judge: Judge | None = None

    def jobs(self) -> list[Job]:
        """All calls, the clean ones first."""
        clean = (Condition(name=CLEAN), None)
        chosen: list[tuple[tuple[Condition, Trace | None], str | None]] = list(product(self.conditions, self.faults))
        if self.has_reference and not any(each.name == CLEAN and fault is None for (each, _), fault in chosen):
            chosen.insert(0, (clean, None))
        return [
            Job(scenario, path.parent, condition, trace, fault)
            for (condition, trace), fault in chosen
            for path, scenario in self.scenarios
        ]


def new_seed() -> int:
    """Return a seed for an evaluation that is given none."""
    return secrets.randbelow(1_000_000)


class Evaluation:
    """Make all calls of `plan` to `target`; `on_call` is called with each record as it is complete.

    Calls without a fault that are among `known`, by the names of their jobs, were made before and are not made again.
    """

    def __init__(
        self,
        plan: Plan,
        driver: type[Driver],
        target: Target,
        on_call: Callable[[Job, CallRecord], None] | None = None,
        known: Mapping[str, CallRecord] | None = None,
    ) -> None:
        self._plan = plan
        self._jobs = plan.jobs()
        self._driver = driver
        self._target = target
        self._on_call = on_call or (lambda job, record: None)
        self._known = known or {}
        asked = {fault for fault in plan.faults if fault is not None}
        if missing := sorted(asked - set(target.faults)):
            killable = ", ".join(sorted(target.faults)) or "nothing"
            raise EvalError(f"--faults {missing[0]}: this target lets {killable} be killed: use --agent or --server")
        wanting = [scenario.name for _, scenario in plan.scenarios if scenario.expect.judge]
        if wanting and plan.judge is None:
            raise EvalError(f"scenario {wanting[0]!r}: expect.judge needs a language model: give --judge-url")
        if plan.parallel < 1:
            raise EvalError(f"--parallel {plan.parallel}: give 1 or more")

    async def run(self) -> list[Result]:
        """Return a result for each job, in order."""
        jobs = self._jobs
        records = {job.name: self._known[job.name] for job in jobs if job.name in self._known and job.fault is None}
        quiet = [job for job in jobs if job.fault is None and job.name not in records]
        slots = asyncio.Semaphore(self._plan.parallel)
        # before the first call: synthesis would hold up the event loop, which is the callers' clock
        await asyncio.to_thread(self._speak_once)

        async def call(job: Job) -> None:
            async with slots:
                records[job.name] = await self._call(job, None)

        await _all_or_first_error([call(job) for job in quiet])
        for fault in dict.fromkeys(job.fault for job in jobs if job.fault is not None):
            struck = [job for job in jobs if job.fault == fault]
            for start in range(0, len(struck), self._plan.parallel):
                records |= await self._struck_together(struck[start : start + self._plan.parallel], fault)
        return [await self._judged(job, records) for job in jobs]

    def _speak_once(self) -> None:
        for path, scenario in self._plan.scenarios:
            for step in scenario.steps:
                if isinstance(step, Say):
                    spoken(step, path.parent)

    async def _struck_together(self, jobs: Sequence[Job], fault: str) -> dict[str, CallRecord]:
        """Make calls at once; the fault strikes after the first word of the first of them, and they share it."""
        strike = _Fault(fault, self._target.faults[fault])
        records = await asyncio.gather(*(self._call(job, strike) for job in jobs))
        await strike.over()
        return {job.name: record for job, record in zip(jobs, records, strict=True)}

    async def _call(self, job: Job, fault: _Fault | None) -> CallRecord:
        driver = self._driver(self._target.endpoint)
        record = CallRecord()
        paths = LinkPaths(job.condition, f"{self._plan.seed}/{job.name}", job.trace)
        async with driver.link(driver.address, paths) as link:
            loop = asyncio.get_running_loop()
            began = loop.time()
            worker = None if fault is None else self._target.victim(fault.name)
            call_id = f"{self._plan.seed:x}-{job.name}"
            dialling = Dialling(link, job.scenario, record, lambda: loop.time() - began, call_id, worker)
            line = driver.line(dialling)

            def begin_speech() -> list[Outage]:
                for at_ms in job.condition.new_address_ms:
                    record.marks.append(Mark(dialling.clock() + at_ms / 1000, "new address"))
                if fault is not None:
                    fault.begin(record, dialling.clock)
                return link.begin_speech()

            await Caller(line, job.folder, begin_speech).call()
        self._on_call(job, record)
        return record

    async def _judged(self, job: Job, records: Mapping[str, CallRecord]) -> Result:
        record = records[job.name]
        clean = next((each for each in self._jobs if each.is_clean and each.scenario is job.scenario), None)
        opinions: tuple[str, ...] = ()
        if self._plan.judge is not None:
            opinions = await self._plan.judge.opinions(job.scenario.expect.judge, record)
        verdict = judge_call(
            job.scenario,
            record,
            names=(job.fault, job.condition.name),
            clean=None if clean is None else records[clean.name],
            opinions=opinions,
        )
        return Result(job, record, verdict)


class _Fault:
    """Strikes once, a while after the first of several calls has begun to speak; each record gets a mark."""

    def __init__(self, name: str, strike: Strike) -> None:
        self.name = name
        self._strike = strike
        self._due: float | None = None
        self._striking: asyncio.Task[None] | None = None

    def begin(self, record: CallRecord, clock: Callable[[], float]) -> None:
        """A call says its first word."""
        now = asyncio.get_running_loop().time()
        if self._striking is None:
            self._due = now + FAULT_AFTER_S
            self._striking = asyncio.create_task(self._wait_and_strike(self._due - now))
        record.marks.append(Mark(clock() + (self._due or now) - now, "fault", f"{self.name} killed"))

    async def over(self) -> None:
        """Return once what was killed is up again."""
        if self._striking is not None:
            await self._striking

    async def _wait_and_strike(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        await self._strike()


async def _all_or_first_error(calls: Sequence[Coroutine[None, None, None]]) -> None:
    """Run them all; where one raises, cancel the others and raise that alone."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in calls:
                group.create_task(each)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
