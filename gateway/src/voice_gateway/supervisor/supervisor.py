"""The parent of the workers of one machine: it owns the sockets, and serves no call itself."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import msgspec
import structlog

from quiclb.daemon.processes.messages import LogChoice
from quiclb.daemon.systemd import notify
from quiclb.datapath.linux.sockets import receive_drops
from quiclb.errors import QuicLbError
from quiclb.logs import writer as log_writer
from quiclb.net.address import Address, format_address
from voice_gateway.certificates.served import ServedCertificate
from voice_gateway.errors import BindError, ConfigurationError, GatewayError
from voice_gateway.ops.admin.server import admin_server
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.supervisor.fleet import (
    DrainWorker,
    Effect,
    Fleet,
    Kill,
    NeverServed,
    Replaced,
    ReplacementFailed,
    SlotState,
    StartWorker,
    Steer,
)
from voice_gateway.supervisor.machine import Machine
from voice_gateway.supervisor.pages import supervisor_pages
from voice_gateway.supervisor.plan import BoxPlan, server_id, worker_name
from voice_gateway.supervisor.processes.handle import WorkerProcess
from voice_gateway.supervisor.processes.messages import Serving, Upward, WorkerSetup
from voice_gateway.supervisor.sockets import BoxSockets, SocketNumbers
from voice_gateway.supervisor.steering.program import Route, Steering
from voice_gateway.web.server import Route as PageRoute
from voicelink.errors import VoiceLinkError

BIND_PATIENCE_S: Final = 5.0
"""How long an address may stay in use: the workers of a supervisor that was killed let it go within a second."""
BIND_AGAIN_S: Final = 0.2
RENEW_EVERY_S: Final = 3600.0
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
HANDOVER_VARIABLE: Final = "VOICE_GATEWAY_HANDOVER"
"""The descriptor of what a supervisor leaves to the program that is executed in its place."""
_log = structlog.get_logger("voice_gateway.supervisor")


class HandedWorker(msgspec.Struct, frozen=True):
    """A worker that runs on during an upgrade."""

    slot: int
    place: int
    state: str
    pid: int
    channel: int
    admin: Address | None


class Handover(msgspec.Struct, frozen=True):
    """What a supervisor leaves to the program that is executed in its place."""

    sockets: SocketNumbers
    workers: list[HandedWorker]
    restarts: int


class WorkerSupervisor:
    """Keeps `plan.workers` workers running: `await run()` returns the exit status.

    SIGTERM drains all and ends, SIGHUP replaces each worker, with the plan that `remake` returns; SIGUSR2 executes this
    program anew, in place, and then replaces each worker. `on_start` is called once all workers serve.
    """

    def __init__(
        self,
        plan: BoxPlan,
        remake: Callable[[], BoxPlan],
        machine: Machine,
        environ: Mapping[str, str],
        *,
        log_choice: LogChoice | None = None,
        on_start: Callable[[WorkerSupervisor], None] = lambda supervisor: None,
    ) -> None:
        self.settings: GatewaySettings = plan.load(environ)
        self.plan = plan
        self._remake = remake
        self._machine = machine
        self._environ = environ
        self._log_choice = log_choice or LogChoice()
        self._on_start = on_start
        self._sockets: BoxSockets | None = None
        self._fleet = Fleet(plan.workers, self.settings.session.drain_timeout_s)
        self._processes: dict[int, WorkerProcess] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._over: asyncio.Future[int] | None = None
        is_tls = self.settings.admin is not None and self.settings.admin.tls
        self._certificate = ServedCertificate(self.settings.tls, time.time) if is_tls else None
        self._has_started = False
        self._is_upgrade_due = False
        self._upgrading: asyncio.Task[None] | None = None

    @property
    def sockets(self) -> BoxSockets:
        if self._sockets is None:
            raise RuntimeError("the supervisor does not run")
        return self._sockets

    @property
    def is_ready(self) -> bool:
        """Whether each place has a worker that takes calls."""
        return self._fleet.is_serving

    @property
    def restarts(self) -> int:
        return self._fleet.restarts

    @property
    def states(self) -> Sequence[SlotState]:
        return [state for state, _ in self._fleet.states]

    def receive_drops(self) -> Sequence[int]:
        """Datagrams lost to full receive queues, of each slot; the sockets outlive the workers."""
        return [receive_drops(sock) for sock in self.sockets.datagrams.sockets]

    def workers(self) -> list[dict[str, object]]:
        """What there is to see of each running worker."""
        return [
            {
                "name": worker_name(self.settings.worker.name, slot),
                "server_id": server_id(slot).hex(),
                "state": state.name.lower(),
                "pid": self._processes[slot].pid,
                "core": self._machine.core_of(place),
                "admin": _shown(self._processes[slot].admin),
            }
            for slot, (state, place) in enumerate(self._fleet.states)
            if slot in self._processes
        ]

    async def run(self, handover: Handover | None = None) -> int:
        """Serve until SIGTERM, SIGINT or a failure, and return the exit status; raises `GatewayError`."""
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        self._sockets = await self._bind() if handover is None else BoxSockets.adopt(handover.sockets)
        hosts = () if self.settings.admin is None else self.settings.admin.hosts
        pages = supervisor_pages(self)
        admin = admin_server([PageRoute("GET", path, page) for path, page in pages.items()], hosts)
        try:
            if self.settings.admin is not None and self._sockets.admin:
                listener = self._sockets.admin[0].dup()  # `stop` closes it, and an upgrade needs it
                tls = None if self._certificate is None else self._certificate.tls_context()
                await admin.start("admin.listen", self.settings.admin.listen, tls, inherited=listener)
            for number, handler in zip(SIGNALS, (self._stop, self._stop, self._reload, self._upgrade), strict=True):
                loop.add_signal_handler(number, handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # an upgrade blocks them until here
            if handover is None:
                self._do(self._fleet.begin(loop.time()))
            else:
                self._adopt(handover)
            renewing = loop.create_task(self._renew_certificates())
            status = await self._over
            renewing.cancel()
        finally:
            self._notify("STOPPING=1")
            await admin.stop()
            self._sockets.close()
        _log.info("supervisor_stopped")
        return status

    async def _bind(self) -> BoxSockets:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + BIND_PATIENCE_S
        while True:
            try:
                return BoxSockets.bind(self.settings, self.plan.workers + 1)
            except BindError as error:
                if "in use" not in str(error) or loop.time() > deadline:
                    raise
            await asyncio.sleep(BIND_AGAIN_S)

    # What signals ask for

    def _stop(self) -> None:
        _log.info("supervisor_draining", deadline_s=self.settings.session.drain_timeout_s)
        self._notify("STOPPING=1")
        self._do(self._fleet.stop(self._now()))

    def _reload(self) -> None:
        try:
            plan = self._remake()
            settings = plan.load(self._environ)
            self.sockets.check(settings)
            if (settings.admin is not None and settings.admin.tls) != (self._certificate is not None):
                raise ConfigurationError("admin.tls: is kept until a restart")
        except (GatewayError, VoiceLinkError, QuicLbError) as error:
            _log.error("reload_refused", error=str(error), remedy="correct it; workers go on with what was there")
            return
        if plan.workers != self.plan.workers:
            _log.warning("workers_unchanged", workers=self.plan.workers, remedy="restart for another number of workers")
        self.plan = replace(plan, workers=self.plan.workers)
        self.settings = settings
        self.renew_certificate()
        self._fleet.drain_timeout_s = settings.session.drain_timeout_s
        _log.info("replacing_workers", cause="reload")
        self._do(self._fleet.replace_all(self._now()))

    def _upgrade(self) -> None:
        if self._upgrading is None or self._upgrading.done():
            self._upgrading = asyncio.get_running_loop().create_task(self._try_upgrade())

    async def _try_upgrade(self) -> None:
        """Execute this program anew, once the program that is installed now has shown that it could start."""
        program = [sys.executable, *sys.orig_argv[1:]]
        process = await asyncio.create_subprocess_exec(
            *program,
            "--check",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            env=self._environ,
        )
        status = await process.wait()
        if status != 0:
            _log.error("upgrade_refused", status=status, remedy="see above; this program goes on")
            return
        self._is_upgrade_due = True
        self._execute_if_calm()

    def _execute_if_calm(self) -> None:
        """Replace this program by the one that is installed now, unless workers come and go just now."""
        if not self._is_upgrade_due or not self._fleet.is_serving or self._fleet.is_replacing:
            return
        _log.info("upgrading")
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        handover = Handover(self.sockets.numbers(), list(self._handed()), self._fleet.restarts)
        memory = os.memfd_create("handover", 0)
        os.write(memory, msgspec.json.encode(handover))
        log_writer.flush()
        environ = {**self._environ, HANDOVER_VARIABLE: str(memory)}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606 - this very program

    def _handed(self) -> Iterable[HandedWorker]:
        for slot, (state, place) in enumerate(self._fleet.states):
            process = self._processes.get(slot)
            if process is not None:
                process.channel.set_inheritable(True)
                yield HandedWorker(slot, place, state.name, process.pid, process.channel.fileno(), process.admin)

    def _adopt(self, handover: Handover) -> None:
        running = []
        for each in handover.workers:
            process = WorkerProcess.adopt(each.pid, each.channel)
            process.admin = each.admin
            self._watch(each.slot, process)
            running.append((each.slot, each.place, SlotState[each.state]))
        self._fleet.restarts = handover.restarts
        self._has_started = True
        self._do(self._fleet.adopt(running, self._now()))
        _log.info("replacing_workers", cause="upgrade")
        self._do(self._fleet.replace_all(self._now()))

    # What workers do

    def _said(self, slot: int, message: Upward) -> None:
        now = self._now()
        if isinstance(message, Serving):
            self._processes[slot].admin = message.admin
            _log.info("worker_serves", slot=slot, pid=self._processes[slot].pid)
            self._do(self._fleet.served(slot, now))
        else:
            self._fleet.alive(slot, now)
            self._set_timer()

    def _ended(self, slot: int, status: int) -> None:
        pid = self._processes.pop(slot).pid
        state = self._fleet.states[slot][0]
        is_expected = state is SlotState.DRAINING and status == 0
        log = _log.info if is_expected else _log.error
        log("worker_ended", slot=slot, pid=pid, status=status, state=state.name.lower())
        self._do(self._fleet.ended(slot, self._now()))
        discarded = self.sockets.datagrams.discard(slot)
        if discarded:
            _log.info("datagrams_discarded", slot=slot, count=discarded)

    # What the fleet wants done

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case StartWorker(slot, place):
                    self._start(slot, place)
                case DrainWorker(slot):
                    if slot in self._processes:
                        self._processes[slot].drain()
                case Kill(slot, cause):
                    if slot in self._processes:
                        _log.error("worker_killed", slot=slot, pid=self._processes[slot].pid, cause=cause)
                        self._processes[slot].kill()
                case Steer():
                    self._steer()
                case Replaced():
                    _log.info("workers_replaced")
                case ReplacementFailed(slot):
                    _log.error("replacement_failed", slot=slot, remedy="see above; the other workers go on as they are")
                case NeverServed(slot):
                    _log.error("worker_never_served", slot=slot, remedy="its log says why")
                    self._finish(1)
        if self._fleet.is_serving and not self._has_started:
            self._has_started = True
            self._log_start()
            self._notify("READY=1")
            self._on_start(self)
        if self._fleet.is_over and not any(state is SlotState.WAITING for state in self.states):
            self._finish(0)
        self._set_timer()
        self._execute_if_calm()

    def _start(self, slot: int, place: int) -> None:
        plan = self.plan
        setup = WorkerSetup(
            config=None if plan.config is None else str(plan.config),
            flags=plan.flags,
            state=str(plan.state),
            workers=plan.workers,
            sessions=plan.sessions,
            slot=slot,
            core=self._machine.core_of(place),
            sockets=self.sockets.of_slot(slot),
            log_format=self._log_choice.log_format.value,
            log_level=self._log_choice.level,
            is_insecure=plan.insist.insecure,
            may_be_root=plan.insist.root,
        )
        try:
            process = WorkerProcess.start(setup, self._environ)
        except OSError as error:  # no memory, no process, no descriptor left
            _log.error("worker_not_started", slot=slot, error=(error.strerror or str(error)).lower())
            asyncio.get_running_loop().call_soon(lambda: self._do(self._fleet.ended(slot, self._now())))
            return
        self._watch(slot, process)

    def _watch(self, slot: int, process: WorkerProcess) -> None:
        self._processes[slot] = process
        process.watch(lambda message: self._said(slot, message), lambda status: self._ended(slot, status))

    def _steer(self) -> None:
        by_slot, accepting = self._fleet.destinations()
        routes = tuple(Route(server_id(slot), index) for slot, index in enumerate(by_slot))
        self.sockets.datagrams.steer(Steering(routes, accepting))
        _log.debug("steered", accepting=accepting, by_slot=by_slot)

    def _finish(self, status: int) -> None:
        """End with this status; what still runs is killed."""
        for process in self._processes.values():
            process.kill()
        if self._over is not None and not self._over.done():
            self._over.set_result(status)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._fleet.deadline
        self._timer = None if deadline is None else asyncio.get_running_loop().call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._do(self._fleet.expire(self._now()))

    def renew_certificate(self) -> None:
        """Renew the development certificate when it is due, if one is used, and serve the newest one to operators.

        Workers take a new one by themselves.
        """
        try:
            self.plan.renew_certificate(self.settings)
            if self._certificate is not None:
                self._certificate.reload(self.settings)
        except GatewayError as error:
            _log.error("certificate_not_renewed", error=str(error), remedy="correct it; the next try is in an hour")

    async def _renew_certificates(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            self.renew_certificate()

    def _log_start(self) -> None:
        _log.info(
            "supervisor_started",
            workers=self.plan.workers,
            cores=[self._machine.core_of(place) for place in range(self.plan.workers)],
            direct=format_address(self.sockets.datagrams.address),
            max_sessions=self.settings.session.max_sessions,
            store=self.settings.session.store.partition("://")[0],
            state=str(self.plan.state),
            connection_ids="plaintext",
        )

    def _notify(self, state: str) -> None:
        try:
            notify(self._environ, state)
        except QuicLbError as error:
            _log.warning("service_manager_not_reached", error=str(error))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def take_handover(environ: dict[str, str]) -> Handover | None:
    """Return what the program that ran here before has left, and take it out of `environ`."""
    text = environ.pop(HANDOVER_VARIABLE, None)
    if text is None:
        return None
    with os.fdopen(int(text), "rb") as memory:
        memory.seek(0)
        return msgspec.json.decode(memory.read(), type=Handover)


def _shown(address: Address | None) -> str | None:
    return None if address is None else format_address(address)
