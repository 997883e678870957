"""The parent of the forwarding processes: it owns the sockets and forwards nothing itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from quiclb.control.table_controller import SettingsSource, TableController
from quiclb.daemon.control_metrics import ControlCollector
from quiclb.daemon.metrics import MetricsServer, collector_renderer
from quiclb.daemon.processes.collector import SupervisorCollector
from quiclb.daemon.processes.handle import ChildHandle, start_child
from quiclb.daemon.processes.messages import LogChoice, Setup
from quiclb.datapath.base import Side, SocketPair
from quiclb.datapath.counters import DatapathCounters
from quiclb.datapath.linux.sockets import bind_socket, make_socket, receive_drops
from quiclb.errors import StartError
from quiclb.logs.setup import get_logger
from quiclb.logs.writer import lines_lost
from quiclb.net.address import Address, normalise
from quiclb.routing.table_spec import TableSpec
from quiclb.settings.loader import Settings

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 5.0
REPORT_INTERVAL_S: Final = 1.0
REPORT_TIMEOUT_S: Final = 5.0
"""A process that has not reported for so long hangs, and is killed."""
FIRST_BACKOFF_S: Final = 0.1
LAST_BACKOFF_S: Final = 10.0
STEADY_S: Final = 10.0
"""A process that lived so long starts the back-off anew."""


class Supervisor:
    """Runs `[forwarder] processes` forwarding processes and a spare: `await start()`, later `await stop()`.

    When one dies the spare takes its place and sockets, with what waits in their queues, and a new spare is started
    after a delay that grows while processes keep dying. If the supervisor itself is killed, the processes go on with
    the table they have for `orphan_grace_s`: a new supervisor binds beside them meanwhile. `inherited` sockets, one
    pair for each process, are used in place of opening some.
    """

    def __init__(
        self,
        settings: Settings,
        source: SettingsSource | None = None,
        *,
        inherited: Sequence[SocketPair] = (),
        log_choice: LogChoice | None = None,
    ) -> None:
        settings.table_spec().check()
        self._settings = settings
        self._source = source
        self._is_inherited = self._is_bound = bool(inherited)
        self._slots = list(inherited)
        self._log_choice = log_choice or LogChoice()
        self._controller: TableController | None = None
        self._metrics_server: MetricsServer | None = None
        self._children: set[ChildHandle] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = DatapathCounters()
        self._ended_log_lines_lost = 0
        self._is_serving = asyncio.Event()
        self._stopping = asyncio.Event()
        self._first_fault: str | None = None
        self.restarts = 0
        self.metrics: Address | None = None

    @property
    def spec(self) -> TableSpec:
        """The spec published last."""
        if self._controller is None:
            raise RuntimeError("the supervisor is not started")
        return self._controller.spec

    @property
    def vip(self) -> Address:
        return normalise(self._slots[0].vip.getsockname())

    @property
    def inner(self) -> Address:
        return normalise(self._slots[0].inner.getsockname())

    @property
    def counters(self) -> DatapathCounters:
        """The totals of all processes, those that ended among them, as last reported: see `refresh`."""
        total = DatapathCounters()
        for counters in (self._ended, *(child.counters for child in self._children)):
            total.add(counters)
        names = {backend.name for backend in self.spec.backends}
        total.keep_backends(names)
        return total

    @property
    def log_lines_lost(self) -> int:
        """Log lines that this process and all others dropped, as last reported."""
        return lines_lost() + self._ended_log_lines_lost + sum(child.log_lines_lost for child in self._children)

    @property
    def pids(self) -> dict[int, int]:
        """Which process serves each slot."""
        return {child.slot: child.pid for child in self._children if child.slot is not None}

    @property
    def spares(self) -> int:
        """Processes that are ready to take over."""
        return sum(child.is_ready and child.slot is None for child in self._children)

    def receive_drops(self, side: Side) -> int:
        """Datagrams lost to full receive queues on all sockets of a side; the sockets outlive the processes."""
        return sum(receive_drops(pair.vip if side is Side.VIP else pair.inner) for pair in self._slots)

    async def start(self) -> None:
        """Return when all processes forward; raises `StartError` and leaves nothing open or running."""
        section = self._settings.forwarder
        try:
            self._controller = TableController(self._settings, self._publish, source=self._source)
            if not self._slots:
                self._slots = [
                    SocketPair(
                        make_socket(section.listen, Side.VIP, is_shared=True),
                        make_socket(section.inner, Side.INNER, is_shared=True),
                    )
                    for _ in range(section.processes)
                ]
            await self._controller.start()
            if section.metrics is not None:
                collectors = SupervisorCollector(self), ControlCollector(self._controller, lambda: self.log_lines_lost)
                self._metrics_server = MetricsServer(
                    collector_renderer(*collectors), self.refresh, section.metrics_hosts
                )
                self.metrics = await self._metrics_server.start(section.metrics)
            tending = [self._tend() for _ in range(section.processes + 1)]
            self._tasks = [asyncio.create_task(task) for task in (*tending, self._poll())]
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._is_serving.wait()
            if self._first_fault is not None:
                raise StartError(self._first_fault)
        except TimeoutError:
            await self.stop()
            raise StartError(f"the forwarding processes did not start within {START_TIMEOUT_S:g} s") from None
        except BaseException:
            await self.stop()
            raise

    async def failed(self) -> BaseException:
        """Wait until supervision ends by itself, which it never should, and return why."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().exception() or RuntimeError("supervision ended")

    def reload(self) -> None:
        """Read the settings again soon, changed or not."""
        if self._controller is not None:
            self._controller.reload()

    async def refresh(self) -> None:
        """Bring `counters` up to date, as far as the processes answer."""
        answers = [child.refresh() for child in self._children if child.slot is not None]
        if not answers:
            return
        try:
            async with asyncio.timeout(REPORT_INTERVAL_S):
                await asyncio.gather(*answers)
        except TimeoutError:
            get_logger().warning("a forwarding process did not report")

    async def stop(self) -> None:
        """Let the processes forward what waits, end them and close the sockets; the counters stay readable."""
        self._stopping.set()
        if self._metrics_server is not None:
            await self._metrics_server.stop()
        if self._controller is not None:
            await self._controller.stop()
        for child in self._children:
            child.stop()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=STOP_TIMEOUT_S)
            for child in self._children:
                child.kill()
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for pair in self._slots:
            pair.close()

    def _bind(self, listen: Address, inner: Address) -> None:
        for pair in self._slots:
            bind_socket(pair.vip, listen)
            bind_socket(pair.inner, inner)
            listen, inner = self.vip, self.inner

    def _publish(self, spec: TableSpec) -> None:
        for child in self._children:
            child.publish(spec)

    async def _tend(self) -> None:
        """Keep one process running, be it a spare or not."""
        loop = asyncio.get_running_loop()
        backoff_s = FIRST_BACKOFF_S
        while not self._stopping.is_set():
            born = loop.time()
            child = await start_child(
                self._setup(), self.spec, self._child_ready, self._refused, self._too_large, self._fds()
            )
            self._children.add(child)
            # what was published while the process was started
            child.publish(self.spec)
            status = await child.wait()
            self._children.discard(child)
            self._ended.add(child.counters)
            self._ended_log_lines_lost += child.log_lines_lost
            if self._stopping.is_set():
                return
            self.restarts += 1
            get_logger().error("forwarding process ended", pid=child.pid, slot=child.slot, status=status)
            self._fill()
            if not self._is_serving.is_set():
                self._fail_start(f"a forwarding process ended with status {status} before it was ready")
                return
            backoff_s = FIRST_BACKOFF_S if loop.time() - born > STEADY_S else min(2 * backoff_s, LAST_BACKOFF_S)
            await self._pause(backoff_s)

    def _fail_start(self, fault: str) -> None:
        self._first_fault = self._first_fault or fault
        self._is_serving.set()

    def _child_ready(self, child: ChildHandle) -> None:
        self._fill()

    def _refused(self, address: Address) -> None:
        if self._controller is not None:
            self._controller.refused(address)

    def _too_large(self) -> None:
        if self._controller is not None:
            self._controller.too_large()

    def _fill(self) -> None:
        """Give every vacant slot to a process that is ready."""
        vacant = set(range(len(self._slots))) - set(self.pids)
        idle = [child for child in self._children if child.is_ready and child.slot is None]
        if not self._is_bound:
            if len(idle) < len(vacant):
                return
            # not before: what arrives would wait in the queues while processes start, beside an older daemon even
            try:
                self._bind(self._settings.forwarder.listen, self._settings.forwarder.inner)
            except StartError as error:
                self._fail_start(str(error))
                return
            self._is_bound = True
        for slot, child in zip(sorted(vacant), idle, strict=False):
            child.serve(slot)
            get_logger().info("forwarding process serves", pid=child.pid, slot=slot)
            vacant.discard(slot)
        if not vacant:
            self._is_serving.set()

    async def _poll(self) -> None:
        """Ask for reports, so that the death of a process costs few counts, and notice one that hangs."""
        while not self._stopping.is_set():
            await self._pause(REPORT_INTERVAL_S)
            await asyncio.gather(*(self._check(child) for child in list(self._children) if child.slot is not None))

    async def _check(self, child: ChildHandle) -> None:
        try:
            async with asyncio.timeout(REPORT_TIMEOUT_S):
                await child.refresh()
        except TimeoutError:
            get_logger().error("forwarding process hangs", pid=child.pid, slot=child.slot)
            child.kill()

    async def _pause(self, delay_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), delay_s)

    def _setup(self) -> Setup:
        section = self._settings.forwarder
        return Setup(
            slots=[(pair.vip.fileno(), pair.inner.fileno()) for pair in self._slots],
            datapath=section.datapath,
            is_loopback_allowed=section.allow_loopback_clients,
            is_release_allowed=not self._is_inherited,
            orphan_grace_s=section.orphan_grace_s,
            log_choice=self._log_choice,
        )

    def _fds(self) -> list[int]:
        return [sock.fileno() for pair in self._slots for sock in (pair.vip, pair.inner)]
