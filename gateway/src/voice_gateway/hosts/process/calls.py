"""The calls of a host, on the agent's event loop: one for each session, the one of the highest epoch."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from voice_gateway.agent.base import Agent, AudioFormat
from voice_gateway.hosts.messages import Hello, Load, Open, Refused, encode_control
from voice_gateway.hosts.process.connection import WorkerConnection
from voice_gateway.hosts.process.lag import LoopLag
from voice_gateway.hosts.process.served_call import CallFailure, ServedCall

_log = structlog.get_logger("voice_gateway.hosts")


@dataclass(slots=True)
class HostCounters:
    """What happened in this host."""

    opened: int = 0
    failed: int = 0
    fenced: int = 0
    """Calls that were taken from an older epoch."""


class HostCalls:
    """Made on the agent's event loop, which all methods are for; only what is read may be read on any."""

    def __init__(self, agent: Agent) -> None:
        self.counters = HostCounters()
        self.is_draining = False
        self.loop = asyncio.get_running_loop()
        self.lag = LoopLag(self.loop)
        self._agent = agent
        self._calls: dict[str, tuple[ServedCall, WorkerConnection]] = {}
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def audio_format(self) -> AudioFormat:
        """The agent's."""
        return self._agent.audio_format

    @property
    def lag_ms(self) -> float:
        """How far the agent's event loop is behind."""
        return round(self.lag.lag_s * 1000, 1)

    def hello(self) -> Hello:
        """Say which agent this is."""
        agent = self._agent
        return Hello(
            agent=agent.name,
            input_rate_hz=agent.input_rate_hz,
            output_rate_hz=agent.output_rate_hz,
            audio_format=agent.audio_format.value,
        )

    def load(self) -> Load:
        """Say how busy it is; also while the agent's loop is blocked."""
        return Load(
            calls=len(self),
            lag_ms=self.lag_ms,
            is_draining=self.is_draining,
            malformed_messages=dict(self._agent.malformed_messages),
        )

    def open(self, opened: Open, connection: WorkerConnection) -> None:
        """Begin a call; one of a lower epoch ends, one of the same or a higher epoch stays."""
        former = self._calls.get(opened.session)
        if former is not None and former[0].epoch >= opened.epoch:
            reason = f"the session is open under epoch {former[0].epoch}, got {opened.epoch}"
            connection.send(encode_control([Refused(reason=reason, is_final=True)]))
            connection.close_soon()
            return
        if former is not None:
            self.counters.fenced += 1
            former[0].close()
            former[1].close_soon()
        self.counters.opened += 1
        self._is_empty.clear()
        connection.send(encode_control([self.hello()]))
        call = ServedCall(self._agent, opened, connection.send, self._failed)
        self._calls[opened.session] = (call, connection)
        connection.call = call
        _log.debug("host_call_opened", session=opened.session, epoch=opened.epoch, turn=opened.turn)

    def close(self, connection: WorkerConnection) -> None:
        """The worker's connection of a call has ended."""
        call = connection.call
        if call is None:
            return
        call.close()
        if self._calls.get(call.session, (None,))[0] is call:
            del self._calls[call.session]
            _log.debug("host_call_closed", session=call.session, epoch=call.epoch)
        if not self._calls:
            self._is_empty.set()

    async def until_empty(self) -> None:
        """Return once there is no call."""
        await self._is_empty.wait()

    def drop_connections(self) -> None:
        """Close the connections of all calls; workers take the calls elsewhere."""
        for _, connection in self._calls.values():
            connection.close_soon()

    def close_all(self) -> None:
        """End all calls."""
        self.drop_connections()
        for call, _ in self._calls.values():
            call.close()
        self._calls.clear()

    def _failed(self, failure: CallFailure) -> None:
        self.counters.failed += 1
        _log.error("host_call_failed", session=failure.session, error=failure.error)
