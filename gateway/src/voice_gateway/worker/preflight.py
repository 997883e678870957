"""What must be right before a worker serves: that its settings are safe where it listens, and that all of it opens."""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from quiclb.errors import QuicLbError
from quiclb.http.listener import listening_socket
from quiclb.net.address import Address, format_address, is_ipv6
from quiclb.net.kernel.bind_errors import explain_refusal
from quiclb.settings.files import exposed_files
from voice_gateway.agent.loading import open_agent
from voice_gateway.certificates.development import is_development_certificate
from voice_gateway.certificates.served import ServedCertificate
from voice_gateway.errors import BindError, ConfigurationError, GatewayError, IdentityError
from voice_gateway.settings.gateway_settings import GatewaySettings, secret_files, secrets_given
from voice_gateway.store.encoding import RecordCodec
from voice_gateway.store.factory import open_store
from voice_gateway.web.server import cannot_listen
from voice_gateway.worker.worker import Worker, make_agent
from voicelink.errors import VoiceLinkError

_NO_SESSION: Final = "0" * 32
_INSIST: Final = "or insist with --insecure-development"
_log = structlog.get_logger("voice_gateway.worker.preflight")


@dataclass(frozen=True, slots=True)
class Insistence:
    """What the operator accepts: all risks (`insecure`), or that of being `root` alone."""

    insecure: bool = False
    root: bool = False

    def accepts(self, risk: Risk) -> bool:
        return self.insecure or (self.root and risk.is_of_root)


@dataclass(frozen=True, slots=True)
class Risk:
    """A reason not to serve, in one sentence with its remedy."""

    sentence: str
    is_of_root: bool = False


def admit(
    settings: GatewaySettings, config: Path | None, insist: Insistence, *, is_logged: bool = True
) -> GatewaySettings:
    """Return `settings` if this process may serve them; raises `ConfigurationError` with a line for each risk.

    Risks that are accepted are logged.
    """
    found = risks(settings, config, os.geteuid())
    faults = [risk.sentence for risk in found if not insist.accepts(risk)]
    if faults:
        raise ConfigurationError("\n".join(faults))
    for risk in found if is_logged else ():
        _log.warning("risk_accepted", risk=risk.sentence)
    return settings


def risks(settings: GatewaySettings, config: Path | None, user_id: int | None) -> list[Risk]:
    """Return what must not be: secrets that others can read, and at a public address what development allows.

    An address is public if it is routed on the Internet, or stands for all of the machine's. `user_id` is that of the
    process that serves, `None` where it is another one.
    """
    found = [Risk(f"{each}, {_INSIST}") for each in exposed_files(secret_files(settings, config))]
    found += [Risk(_in_the_file(key)) for key in ([] if config is None else secrets_given(config))]
    public = next(_public(settings), None)
    if public is None:
        return found
    where = f"{public[0]} {format_address(public[1])} is a public address"
    if user_id == 0:
        remedy = "run it as another user, with CAP_NET_BIND_SERVICE for ports below 1024, or insist with --allow-root"
        found.append(Risk(f"{where} and this process runs as root: {remedy}", is_of_root=True))
    if _has_development_certificate(settings):
        certificate = f"tls.certificate {settings.tls.certificate} a development certificate"
        found.append(Risk(f"{where} and {certificate}: name one that clients trust, {_INSIST}"))
    if settings.access.is_open:
        found.append(Risk(f"{where} and any client may call: set access.key_files or access.token_file, {_INSIST}"))
    return found


async def opening_faults(settings: GatewaySettings, *, has_ports: bool = True) -> list[str]:
    """Open and close all that a worker opens, and return a sentence for each thing that fails.

    `has_ports` false leaves the ports out, for settings of a worker that runs.
    """
    attempts: list[Callable[[], Awaitable[None]]] = [
        lambda: _certificate(settings),
        lambda: _agent(settings),
        lambda: _store(settings),
    ]
    attempts += [lambda: _ports(settings)] * has_ports
    faults: list[str] = []
    for attempt in attempts:
        faults += await _faults(attempt)
    return faults or await _faults(lambda: _whole(settings))


async def _faults(attempt: Callable[[], Awaitable[None]]) -> list[str]:
    try:
        await attempt()
    except ExceptionGroup as faults:
        return [str(each) for each in faults.exceptions]
    except (GatewayError, VoiceLinkError, QuicLbError) as fault:
        return [str(fault)]
    return []


async def _certificate(settings: GatewaySettings) -> None:
    ServedCertificate(settings.tls, time.time)


async def _agent(settings: GatewaySettings) -> None:
    agent = make_agent(settings.agent)
    try:
        await open_agent(agent)
    finally:
        await agent.close()


async def _store(settings: GatewaySettings) -> None:
    session = settings.session
    store = open_store(session.store, ttl_s=session.record_ttl_s, codec=RecordCodec(session.read_store_keys()))
    try:
        await store.load(_NO_SESSION)
    finally:
        await store.close()


async def _ports(settings: GatewaySettings) -> None:
    """All at once, so that two settings do not name one port."""
    faults: list[GatewayError] = []
    with ExitStack() as opened:
        for key, address in _udp(settings):
            try:
                sock = opened.enter_context(
                    socket.socket(socket.AF_INET6 if is_ipv6(address) else socket.AF_INET, socket.SOCK_DGRAM)
                )
                sock.bind(address)
            except OSError as error:
                faults.append(BindError(f"{key}: UDP {format_address(address)}: {explain_refusal(error)}"))
        for key, address, is_shared in _tcp(settings):
            try:
                opened.enter_context(listening_socket(address, is_shared=is_shared))
            except OSError as error:
                faults.append(cannot_listen(key, address, error))
    if faults:
        raise ExceptionGroup("ports", faults)


async def _whole(settings: GatewaySettings) -> None:
    """What the parts do not show: whether they go together."""
    await Worker(settings).discard()


def _public(settings: GatewaySettings) -> Iterator[tuple[str, Address]]:
    telephony = settings.telephony
    is_signed = telephony is not None and telephony.is_signed()
    reached = [*_udp(settings), *((key, address) for key, address, _ in _tcp(settings) if key != "admin.listen")]
    for key, address in reached:
        ip = ipaddress.ip_address(address[0])
        if (ip.is_global or ip.is_unspecified) and not (key == "telephony.listen" and is_signed):
            yield key, address


def _udp(settings: GatewaySettings) -> Iterable[tuple[str, Address]]:
    given = {"worker.listen": settings.worker.listen, "worker.inner": settings.worker.inner}
    return [(key, address) for key, address in given.items() if address is not None]


def _tcp(settings: GatewaySettings) -> Iterable[tuple[str, Address, bool]]:
    sections = {
        "telephony": settings.telephony,
        "websocket": settings.websocket,
        "page": settings.page,
        "admin": settings.admin,
    }
    return [
        (f"{name}.listen", section.listen, settings.page is section and settings.page.shared_port)
        for name, section in sections.items()
        if section is not None
    ]


def _has_development_certificate(settings: GatewaySettings) -> bool:
    try:
        return is_development_certificate(settings.tls.certificate)
    except IdentityError:
        return False  # what reads it says so


def _in_the_file(key: str) -> str:
    if key.startswith("config["):
        return f"{key}: a key does not belong in the settings file: name a file by key_file, {_INSIST}"
    variable = f"VOICE_GATEWAY_{key.replace('.', '_').upper()}"
    if key in _ADDRESSES:
        what = _ADDRESSES[key]
        return f"{key}: {what} does not belong in the settings file: give it by the variable {variable}, {_INSIST}"
    return (
        f"{key}: a secret does not belong in the settings file: name a file by {key}_file, "
        f"or give it by the variable {variable}, {_INSIST}"
    )


_ADDRESSES: Final = {
    "session.store": "an address with a password",
    "recording.storage": "an address with a password or a key",
    "webhooks.urls": "a URL with a token",
}
"""What of the settings that are addresses may be secret; for these there are no files."""
