"""The composition root: settings in, a running forwarder out."""

from __future__ import annotations

import asyncio
import signal

import structlog

from quiclb.address import Address, format_address
from quiclb.counters import ForwarderCounters
from quiclb.datapath.userspace import UserspaceDatapath, is_own_ip, open_userspace
from quiclb.forwarder import ForwardingCore
from quiclb.installer import TableInstaller
from quiclb.keeper import SettingsSource, TableKeeper
from quiclb.keeper_metrics import KeeperCollector
from quiclb.metrics import ForwarderCollector, MetricsServer, collector_renderer
from quiclb.settings import Settings
from quiclb.spec import TableSpec
from quiclb.table import RoutingTable


async def run(settings: Settings, source: SettingsSource | None = None) -> None:
    """Forward until SIGTERM or SIGINT, reload from `source` on SIGHUP and on change; raises `StartError`.

    Nothing has to be drained: whatever forwarder gets a connection's next datagram knows where it belongs.
    """
    log = structlog.get_logger()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    forwarder = Forwarder(settings, source)
    loop.add_signal_handler(signal.SIGHUP, forwarder.reload)
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
        await stopped.wait()
    finally:
        await forwarder.stop()
        log.info("forwarder stopped", packets=forwarder.counters.packets.total())


class Forwarder:
    """A forwarder in the running event loop: `await start()`, later `await stop()`.

    After `start`, `vip`, `inner` and `metrics` are the addresses really bound. `start` raises `StartError` and leaves
    nothing open. With a `source`, such as `SettingsFile`, settings are read again when they change.
    """

    def __init__(self, settings: Settings, source: SettingsSource | None = None) -> None:
        settings.table_spec().check()
        self._settings = settings
        self._source = source
        self._keeper: TableKeeper | None = None
        self._installer = TableInstaller(self._install)
        self._datapath: UserspaceDatapath | None = None
        self._core: ForwardingCore | None = None
        self._metrics_server: MetricsServer | None = None
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

    async def start(self) -> None:
        section = self._settings.forwarder
        try:
            datapath = await open_userspace(section.listen, section.inner)
            self._datapath = datapath
            keeper = TableKeeper(self._settings, self._publish, source=self._source)
            await keeper.start()
            self._keeper = keeper
            core = ForwardingCore(
                keeper.spec.build(),
                datapath.vip,
                datapath.inner,
                is_loopback_allowed=section.allow_loopback_clients,
                is_own_ip=is_own_ip,
            )
            self._core = core
            if section.metrics is not None:
                collectors = ForwarderCollector(core, datapath), KeeperCollector(keeper)
                self._metrics_server = MetricsServer(collector_renderer(*collectors))
                self.metrics = await self._metrics_server.start(section.metrics)
        except BaseException:
            await self.stop()
            raise
        datapath.serve(core)

    def reload(self) -> None:
        """Read the settings again soon, changed or not."""
        if self._keeper is not None:
            self._keeper.reload()

    async def stop(self) -> None:
        """Close the sockets; the counters stay readable."""
        if self._metrics_server is not None:
            await self._metrics_server.stop()
        if self._keeper is not None:
            await self._keeper.stop()
        await self._installer.stop()
        if self._datapath is not None:
            await self._datapath.close()

    def _publish(self, spec: TableSpec) -> None:
        if self._core is not None:
            self._installer.publish(spec)

    def _install(self, table: RoutingTable) -> None:
        self.core.table = table
        self.core.counters.keep_backends({backend.name for backend in table.pool})
