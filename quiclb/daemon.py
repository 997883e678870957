"""The composition root: settings in, a running forwarder out."""

from __future__ import annotations

import asyncio
import signal

import structlog

from quiclb.address import Address, format_address
from quiclb.counters import ForwarderCounters
from quiclb.datapath.userspace import UserspaceDatapath, is_own_ip, open_userspace
from quiclb.datapath.vectorised import VectorisedDatapath, open_vectorised
from quiclb.forwarder import ForwardingCore
from quiclb.metrics import ForwarderCollector, MetricsServer, collector_renderer
from quiclb.settings import DatapathKind, ForwarderSection, Settings


async def run(settings: Settings) -> None:
    """Forward until SIGTERM or SIGINT; raises `StartError`.

    Nothing has to be drained: whatever forwarder gets a connection's next datagram knows where it belongs.
    """
    log = structlog.get_logger()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    forwarder = Forwarder(settings)
    await forwarder.start()
    try:
        log.info(
            "forwarder started",
            vip=format_address(forwarder.vip),
            inner=format_address(forwarder.inner),
            metrics=format_address(forwarder.metrics) if forwarder.metrics else None,
            configs=[config.config_id for config in forwarder.core.table.configs],
            backends=[backend.name for backend in forwarder.core.table.pool],
        )
        failure = asyncio.ensure_future(forwarder.failed())
        await asyncio.wait([failure, asyncio.ensure_future(stopped.wait())], return_when=asyncio.FIRST_COMPLETED)
        if failure.done():
            raise failure.result()
    finally:
        await forwarder.stop()
        log.info("forwarder stopped", packets=forwarder.counters.packets.total())


class Forwarder:
    """A forwarder in the running event loop: `await start()`, later `await stop()`.

    After `start`, `vip`, `inner` and `metrics` are the addresses really bound. `start` raises `StartError` and leaves
    nothing open.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._table = settings.build_table()
        self._datapath: UserspaceDatapath | VectorisedDatapath | None = None
        self._core: ForwardingCore | None = None
        self._metrics_server: MetricsServer | None = None
        self._failure: asyncio.Future[BaseException]
        self.metrics: Address | None = None

    @property
    def core(self) -> ForwardingCore:
        """The decisions and counters of the running forwarder."""
        if self._core is None:
            raise RuntimeError("the forwarder is not started")
        return self._core

    @property
    def vip(self) -> Address:
        return self.core.vip

    @property
    def inner(self) -> Address:
        return self.core.inner

    @property
    def counters(self) -> ForwarderCounters:
        return self.core.counters

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_result(error)

    async def start(self) -> None:
        self._failure = asyncio.get_running_loop().create_future()
        section = self._settings.forwarder
        datapath = await _open(section)
        self._datapath = datapath
        core = ForwardingCore(
            self._table,
            datapath.vip,
            datapath.inner,
            is_loopback_allowed=section.allow_loopback_clients,
            is_own_ip=is_own_ip,
        )
        self._core = core
        try:
            if section.metrics is not None:
                self._metrics_server = MetricsServer(collector_renderer(ForwarderCollector(core, datapath)))
                self.metrics = await self._metrics_server.start(section.metrics)
        except BaseException:
            await datapath.close()
            raise
        if isinstance(datapath, VectorisedDatapath):
            datapath.serve(core, self._fail)
        else:
            datapath.serve(core)

    async def failed(self) -> BaseException:
        """Wait until forwarding ends by itself, which it never should, and return why."""
        return await self._failure

    async def stop(self) -> None:
        """Close the sockets; the counters stay readable."""
        if self._metrics_server is not None:
            await self._metrics_server.stop()
        if self._datapath is not None:
            await self._datapath.close()


async def _open(section: ForwarderSection) -> UserspaceDatapath | VectorisedDatapath:
    if section.datapath is DatapathKind.VECTORISED:
        return open_vectorised(section.listen, section.inner)
    return await open_userspace(section.listen, section.inner)
