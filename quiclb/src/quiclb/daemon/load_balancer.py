"""The composition root: settings in, a running load balancer out."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING

from quiclb.control.table_controller import SettingsSource, TableController
from quiclb.daemon.datapath_host import DatapathHost
from quiclb.daemon.interpreter import freeze_gc
from quiclb.daemon.processes.messages import LogChoice
from quiclb.daemon.systemd import inherited_sockets, notify
from quiclb.daemon.table_installer import log_table
from quiclb.datapath.base import SocketPair
from quiclb.datapath.counters import DatapathCounters
from quiclb.logs.setup import get_logger
from quiclb.net.address import Address, format_address
from quiclb.routing.table_spec import TableSpec
from quiclb.settings.loader import Settings

if TYPE_CHECKING:
    from quiclb.daemon.metrics import MetricsServer
    from quiclb.daemon.processes.supervisor import Supervisor


async def run(
    settings: Settings,
    source: SettingsSource | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    log_choice: LogChoice | None = None,
) -> None:
    """Forward until SIGTERM or SIGINT, reload from `source` on SIGHUP and on change; raises `StartError`.

    `environ`, usually `os.environ`, holds the sockets that systemd passes and the socket for readiness notifications.
    `log_choice` tells further processes how to log. Nothing has to be drained: any load balancer can route a
    connection's next datagram.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    environ = environ or {}
    balancer: LoadBalancer | Supervisor
    if settings.forwarder.processes == 1:
        inherited = inherited_sockets(environ, settings.forwarder.listen, settings.forwarder.inner, 1)
        balancer = LoadBalancer(settings, source, sockets=inherited[0] if inherited else None)
    else:
        from quiclb.daemon.processes.supervisor import Supervisor

        balancer = Supervisor(
            settings,
            source,
            inherited=inherited_sockets(
                environ, settings.forwarder.listen, settings.forwarder.inner, settings.forwarder.processes
            ),
            log_choice=log_choice or LogChoice(),
        )
    loop.add_signal_handler(signal.SIGHUP, balancer.reload)
    await balancer.start()
    freeze_gc()
    try:
        spec = balancer.spec
        get_logger().info(
            "load balancer started",
            vip=format_address(balancer.vip),
            inner=format_address(balancer.inner),
            metrics=format_address(balancer.metrics) if balancer.metrics else None,
            processes=settings.forwarder.processes,
            configs=[config.config_id for config in spec.configs],
            backends=[backend.name for backend in spec.backends],
        )
        notify(environ, "READY=1")
        failure = asyncio.ensure_future(balancer.failed())
        await asyncio.wait([failure, asyncio.ensure_future(stopped.wait())], return_when=asyncio.FIRST_COMPLETED)
        if failure.done():
            raise failure.result()
    finally:
        notify(environ, "STOPPING=1")
        await balancer.stop()
        get_logger().info("load balancer stopped", packets=balancer.counters.packets.total())


class LoadBalancer:
    """A load balancer in the running event loop: `await start()`, later `await stop()`.

    After `start`, `vip`, `inner` and `metrics` are the addresses really bound. `start` raises `StartError` and leaves
    nothing open. With a `source`, such as `SettingsFile`, settings are read again when they change. `sockets` are used
    in place of opening some.
    """

    def __init__(
        self, settings: Settings, source: SettingsSource | None = None, *, sockets: SocketPair | None = None
    ) -> None:
        settings.table_spec().check()
        self._settings = settings
        self._source = source
        self._sockets = sockets
        self._controller: TableController | None = None
        self._host: DatapathHost | None = None
        self._metrics_server: MetricsServer | None = None
        self.metrics: Address | None = None

    @property
    def host(self) -> DatapathHost:
        if self._host is None:
            raise RuntimeError("the load balancer is not started")
        return self._host

    @property
    def spec(self) -> TableSpec:
        """What the table in use, or soon in use, is made of."""
        if self._controller is None:
            raise RuntimeError("the load balancer is not started")
        return self._controller.spec

    @property
    def vip(self) -> Address:
        return self.host.datapath.vip

    @property
    def inner(self) -> Address:
        return self.host.datapath.inner

    @property
    def counters(self) -> DatapathCounters:
        return self.host.counters

    async def start(self) -> None:
        section = self._settings.forwarder
        host = DatapathHost()
        await host.open(
            section.datapath,
            section.listen,
            section.inner,
            sockets=self._sockets,
            is_loopback_allowed=section.allow_loopback_clients,
        )
        try:
            controller = TableController(
                self._settings, self._publish, source=self._source, sockets=(host.datapath.vip, host.datapath.inner)
            )
            await controller.start()
            self._controller = controller
            host.refused, host.too_large = controller.refused, controller.too_large
            self._host = host
            table = controller.spec.build()
            log_table("table built", table)
            host.serve(table)
            if section.metrics is not None:
                # not before clients are served: loading this takes a while
                from quiclb.daemon.control_metrics import ControlCollector
                from quiclb.daemon.metrics import MetricsServer, TrafficCollector, collector_renderer

                collectors = TrafficCollector(host), ControlCollector(controller)
                self._metrics_server = MetricsServer(collector_renderer(*collectors), hosts=section.metrics_hosts)
                self.metrics = await self._metrics_server.start(section.metrics)
        except BaseException:
            await self.stop()
            await host.stop()
            raise

    async def failed(self) -> BaseException:
        """Wait until forwarding ends by itself, which it never should, and return why."""
        return await self.host.failed()

    def reload(self) -> None:
        """Read the settings again soon, changed or not."""
        if self._controller is not None:
            self._controller.reload()

    async def stop(self) -> None:
        """Close the sockets; the counters stay readable."""
        if self._metrics_server is not None:
            await self._metrics_server.stop()
        if self._controller is not None:
            await self._controller.stop()
        if self._host is not None:
            await self._host.stop()

    def _publish(self, spec: TableSpec) -> None:
        if self._host is not None:
            self._host.publish(spec)
