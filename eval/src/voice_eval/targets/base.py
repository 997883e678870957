"""The base class of targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Self

from voice_eval.drivers.base import Endpoint

Strike = Callable[[], Awaitable[None]]


class Target(ABC):
    """Use as `async with`; `endpoint` is what drivers call."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:  # noqa: B027 - there may be nothing to end
        """End what was started."""

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint: ...

    @property
    def faults(self) -> dict[str, Strike]:
        """What can be killed, by name; each kills, starts again after a second, and returns once that is up."""
        return {}

    def victim(self, fault: str) -> str | None:
        """Which worker's calls a fault hits, where only those are hit."""
        return None


class UrlTarget(Target):
    """A server that is up already: nothing of it can be killed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint
