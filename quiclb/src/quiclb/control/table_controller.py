"""Keeps the routing table up to date: settings, discovery and health in, table specs out."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from quiclb.backends.discovery import join
from quiclb.backends.health import Health, apply_health
from quiclb.codec.config import QuicLbConfig
from quiclb.control.backend_log import log_backend_changes, log_health_change
from quiclb.control.path_watch import PathWatch
from quiclb.control.prober import Prober
from quiclb.control.sources import BackendSource, make_source
from quiclb.errors import ConfigError, explain
from quiclb.logs.setup import get_logger, log_debug
from quiclb.net.address import Address, format_address
from quiclb.net.backend_addresses import BackendAddresses
from quiclb.net.kernel.routes import RouteMtu, is_local_ip, path_mtu
from quiclb.routing.pool import Backend, BackendState
from quiclb.routing.table_spec import TableSpec
from quiclb.settings.loader import Settings
from quiclb.settings.sections import DiscoveryEntry

Publish = Callable[[TableSpec], None]

WATCH_INTERVAL_S: Final = 0.5
DEBOUNCE_S: Final = 0.05
FIRST_ANSWER_TIMEOUT_S: Final = 3.0
"""How long a new `[[discovery]]` may hold up the start or a reload; its backends join when it answers."""

PATHS_APART_S: Final = 1.0
"""How soon the paths are looked at again, however many datagrams are too large for one."""
PATHS_AGAIN_S: Final = 10.0

LIVE_KEYS: Final = {"unknown_server_id", "check_cid_length"}
"""What of `[forwarder]` a reload changes; the rest belongs to the open sockets."""


class SettingsSource(Protocol):
    """Where settings are read again; `SettingsFile` is one."""

    def load(self) -> Settings:
        """Read and check everything; raises `ConfigError`."""

    def signature(self) -> object:
        """Something that differs from the last time if `load` may give something new."""


class TableController:
    """Calls `publish` with a checked spec, first from `start` and then at every change, until `stop`.

    `publish` must return at once: see `TableInstaller`. With a `source`, settings are loaded again when its signature
    changes or on `reload`; settings that are bad leave the table as it is. `reloads` counts by `applied`, `unchanged`
    and `refused`. `sockets` are the addresses of the VIP and the inner side where they are bound already, as backends
    must have others; by default those of the settings. `path_mtu` is asked about the route to each backend when it is
    new, when its health changes, soon after `too_large`, and every `PATHS_AGAIN_S` while there is a fault.
    """

    def __init__(
        self,
        settings: Settings,
        publish: Publish,
        *,
        source: SettingsSource | None = None,
        sockets: tuple[Address, Address] | None = None,
        path_mtu: Callable[[Address, Address], RouteMtu] = path_mtu,
    ) -> None:
        self.settings = settings
        self.reloads: Counter[str] = Counter()
        self.backends: tuple[Backend, ...] = ()
        """All backends in the states they were given, before health."""
        self.conflicts: tuple[str, ...] = ()
        """What was found and had to be left out of the table."""
        self.is_fail_open = False
        """No active backend answers its probes, so health is ignored."""
        self._started_with = settings
        listen, inner = sockets or (settings.forwarder.listen, settings.forwarder.inner)
        self._addresses = BackendAddresses(listen, inner, is_local_ip)
        self.paths = PathWatch(inner, path_mtu)
        self._paths_due: asyncio.TimerHandle | None = None
        self._is_stopped = False
        self._configs = _configs(settings)
        self._publish = publish
        self._source = source
        self._signature: object = None
        self._is_reload_asked = asyncio.Event()
        self._spec: TableSpec | None = None
        self._discoveries: list[tuple[DiscoveryEntry, BackendSource]] = []
        self._prober: Prober | None = None
        self._healths: dict[str, Health] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._due: asyncio.TimerHandle | None = None

    @property
    def spec(self) -> TableSpec:
        """The spec published last."""
        if self._spec is None:
            raise RuntimeError("the table controller is not started")
        return self._spec

    @property
    def sources(self) -> list[BackendSource]:
        """What discovers backends, in the order of the file."""
        return [source for _, source in self._discoveries]

    @property
    def prober(self) -> Prober | None:
        """What probes the backends, or `None` if nothing does."""
        return self._prober

    async def start(self) -> None:
        """Publish the first spec before returning, then watch for changes; raises `StartError` and `ConfigError`."""
        if self._source is not None:
            self._signature = self._source.signature()
        self.settings.check_backend_addresses(self._addresses)
        try:
            await self._adopt(self.settings, self._configs)
            self._update()
        except BaseException:
            await self.stop()
            raise
        if self._source is not None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch(self._source))

    async def stop(self) -> None:
        """Watch no longer; nothing is published after this."""
        self._is_stopped = True
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        await asyncio.gather(*(source.stop() for source in self.sources))
        if self._prober is not None:
            await self._prober.stop()
        for timer in (self._due, self._paths_due):
            if timer is not None:
                timer.cancel()

    def reload(self) -> None:
        """Load the settings again soon, changed or not, as SIGHUP asks for."""
        self._is_reload_asked.set()

    def refused(self, address: Address) -> None:
        """Probe a backend at once: an ICMP error says that no socket is bound to its address."""
        if self._prober is not None:
            self._prober.refused(address)

    def too_large(self) -> None:
        """Look at the paths soon: the kernel says that a datagram was too large for one."""
        if self._is_stopped:
            return
        if self._paths_due is None:
            self._look_in(DEBOUNCE_S)
        elif self._paths_due.when() - asyncio.get_running_loop().time() > PATHS_APART_S:
            self._paths_due.cancel()
            self._look_in(PATHS_APART_S)

    def _look_in(self, delay_s: float) -> None:
        self._paths_due = asyncio.get_running_loop().call_later(delay_s, self._look_at_paths)

    def _look_at_paths(self) -> None:
        self.paths.look(self.backends)
        self._paths_due = None
        if self.paths.has_fault:
            self._look_in(PATHS_AGAIN_S)

    async def _watch(self, source: SettingsSource) -> None:
        seen = self._signature
        while True:
            try:
                async with asyncio.timeout(WATCH_INTERVAL_S):
                    await self._is_reload_asked.wait()
            except TimeoutError:
                pass
            signature = source.signature()
            # a file that differs from the last look may still be being written
            is_changed = signature != self._signature and signature == seen
            seen = signature
            if is_changed or self._is_reload_asked.is_set():
                self._is_reload_asked.clear()
                self._signature = signature
                await self._reload(source)

    async def _reload(self, source: SettingsSource) -> None:
        try:
            settings = source.load()
            settings.check_backend_addresses(self._addresses)
            await self._adopt(settings, _configs(settings))
            result = "applied" if self._update() else "unchanged"
        except Exception as error:  # the watch must go on, or no later reload is noticed
            self.reloads["refused"] += 1
            get_logger().error("settings refused, the old table stays", fault=explain(error))
            return
        self._say_what_needs_a_restart(settings)
        self.reloads[result] += 1
        version = self.spec.version
        # `generation` is the key's former name
        get_logger().info("settings reloaded", result=result, version=version, generation=version)

    async def _adopt(self, settings: Settings, configs: tuple[QuicLbConfig, ...]) -> None:
        """Start and stop what discovers and what probes, keeping what the settings did not change."""
        former = list(self._discoveries)
        discoveries: list[tuple[DiscoveryEntry, BackendSource]] = []
        fresh: list[BackendSource] = []
        for entry in settings.discovery:
            kept = next((pair for pair in former if pair[0] == entry), None)
            if kept is None:
                kept = entry, make_source(entry, self._changed)
                fresh.append(kept[1])
            else:
                former.remove(kept)
            discoveries.append(kept)
        await asyncio.gather(*(_first_answer(source) for source in fresh))
        # all at once: a call of `_update` must see the old ones or the new ones
        self.settings, self._configs, self._discoveries = settings, configs, discoveries
        await asyncio.gather(*(source.stop() for _, source in former))
        for source in fresh:
            source.start()
        await self._adopt_health(settings)

    async def _adopt_health(self, settings: Settings) -> None:
        prober, policy = self._prober, settings.health.build()
        if prober is not None and settings.health.enabled:
            prober.adopt(policy)
        elif prober is not None:
            self._prober = None
            await prober.stop()
        elif settings.health.enabled:
            section = self._started_with.forwarder
            prober = Prober(
                policy,
                section.inner,
                section.listen,
                self._changed,
                rng=os.urandom,
                jitter=random.random,
                too_large=self.too_large,
            )
            await prober.start()
            self._prober = prober

    def _changed(self) -> None:
        """Update soon: a switch that fails takes many backends within moments, and they shall make one table."""
        if self._spec is not None and self._due is None:
            self._due = asyncio.get_running_loop().call_later(DEBOUNCE_S, self._update_soon)

    def _update_soon(self) -> None:
        try:
            self._update()
        except Exception as error:
            get_logger().error("table refused, the old one stays", fault=explain(error))

    def _update(self) -> bool:
        """Put everything together and publish it if it is another table; return whether it is."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        found = [backend for source in self.sources for backend in source.backends(self._configs)]
        listed = [entry.build() for entry in self.settings.backend]
        former_backends = self.backends
        self.backends, conflicts = join(self._configs, listed, found, self._addresses.fault)
        if self.backends != former_backends:
            log_backend_changes(former_backends, self.backends)
        self.paths.look(self.paths.keep(self.backends))
        effective = self._apply_health()
        if self.paths.has_fault and self._paths_due is None:
            self._look_in(PATHS_AGAIN_S)
        former = self._spec
        spec = TableSpec(
            configs=self._configs,
            backends=effective,
            unknown_server_id=self.settings.forwarder.unknown_server_id,
            check_cid_length=self.settings.forwarder.check_cid_length,
            version=0 if former is None else former.version,
        )
        for conflict in conflicts:
            if conflict not in self.conflicts:
                get_logger().warning("discovery conflict", fault=conflict)
        self.conflicts = conflicts
        if spec == former:
            return False
        if former is not None:
            spec = replace(spec, version=former.version + 1)
        try:
            spec.check()
        except ConfigError as error:
            log_debug("table refused", version=spec.version, backends=len(spec.backends), fault=str(error))
            raise
        self._spec = spec
        self._publish(spec)
        return True

    def _apply_health(self) -> tuple[Backend, ...]:
        prober = self._prober
        if prober is None:
            self.is_fail_open, self._healths = False, {}
            return self.backends
        prober.watch(backend.address for backend in self.backends if backend.state is not BackendState.DOWN)
        effective, is_fail_open = apply_health(self.backends, prober.health)
        if self.is_fail_open and not is_fail_open:
            prober.doubt()
            effective, _ = apply_health(self.backends, prober.health)
        by_name = {backend.name: prober.health(backend.address) for backend in self.backends}
        for backend in self.backends:
            health = by_name[backend.name]
            former = self._healths.get(backend.name, Health.UNKNOWN)
            if health is not former:
                log_health_change(backend, former, health)
                address = format_address(backend.address)
                get_logger().info("backend health changed", backend=backend.name, address=address, health=health.value)
                self.paths.look([backend])
        if is_fail_open and not self.is_fail_open:
            get_logger().warning("no active backend answers probes, health is ignored")
        elif self.is_fail_open and not is_fail_open:
            get_logger().info("backends answer probes again, health counts")
        self.is_fail_open, self._healths = is_fail_open, by_name
        return effective

    def _say_what_needs_a_restart(self, settings: Settings) -> None:
        new, old = settings.forwarder, self._started_with.forwarder
        keys = [name for name in type(new).model_fields if getattr(new, name) != getattr(old, name)]
        for key in keys:
            if key not in LIVE_KEYS:
                get_logger().warning("a setting changed that needs a restart", key=f"forwarder.{key}")


def _configs(settings: Settings) -> tuple[QuicLbConfig, ...]:
    return tuple(entry.build() for entry in settings.config)


async def _first_answer(source: BackendSource) -> None:
    try:
        async with asyncio.timeout(FIRST_ANSWER_TIMEOUT_S):
            await source.refresh()
    except TimeoutError:
        get_logger().warning("discovery has not answered yet, going on without", source=source.name)
