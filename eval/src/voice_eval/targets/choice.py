"""Which target the options of a command mean."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from voice_eval.drivers.base import Driver, Endpoint
from voice_eval.errors import EvalError
from voice_eval.targets.base import Target, UrlTarget
from voice_eval.targets.cluster import ClusterPlan, ClusterTarget
from voice_eval.targets.livekit import LiveKitTarget
from voice_eval.targets.program import ProgramTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChoice:
    """What was given; `endpoint.url` is empty where no URL was."""

    endpoint: Endpoint
    agent: str | None = None
    path: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    server: str | None = None
    faults: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """For reports."""
        return f"agent {self.agent}" if self.agent else self.server or self.endpoint.url


def chosen_target(choice: TargetChoice, driver: type[Driver]) -> Target:
    """Return the target; raises `EvalError` where the options do not go together."""
    if choice.agent is not None and (choice.endpoint.url or choice.server):
        raise EvalError("--agent runs a cluster of its own: leave --url and --server out")
    if choice.agent is not None:
        if driver.name not in ("gateway", "twilio"):
            raise EvalError(f"--agent runs the gateway: --driver {driver.name} needs --url, or --server and --url")
        token = secrets.token_hex(16) if driver.name == "twilio" else None
        plan = ClusterPlan(
            agent=choice.agent,
            settings=choice.settings,
            path=choice.path,
            faults=choice.faults,
            telephony_token=token,
        )
        return ClusterTarget(plan, choice.endpoint.options)
    if driver.name == "livekit" and choice.server is not None:
        if choice.endpoint.url:
            raise EvalError("--driver livekit with --server runs a LiveKit server of its own: leave --url out")
        return LiveKitTarget(choice.server)
    if not choice.endpoint.url:
        raise EvalError("there is nothing to call: give --agent, or --url of a server")
    if choice.server is not None:
        return ProgramTarget(choice.server, choice.endpoint)
    return UrlTarget(replace(choice.endpoint))
