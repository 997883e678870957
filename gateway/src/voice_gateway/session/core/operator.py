"""What an operator may have a session do, beside what its caller and its agent do."""

from __future__ import annotations

from dataclasses import dataclass

from voice_gateway.agent.base import HangUp, TransferCall


@dataclass(frozen=True, slots=True)
class SayText:
    """Cut off what the agent says, and have it say `text` with its own voice."""

    text: str


@dataclass(frozen=True, slots=True)
class TypeText:
    """Give the agent `text` as if the caller had typed it."""

    text: str


OperatorAction = SayText | TypeText | TransferCall | HangUp
