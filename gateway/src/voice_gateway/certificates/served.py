"""The certificate a worker shows, on QUIC and on TCP; it can be replaced while calls go on."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from voice_gateway.endpoint.tls.identity import TlsIdentity
from voice_gateway.endpoint.tls.self_test import handshake_in_memory
from voice_gateway.errors import IdentityError
from voice_gateway.settings.gateway_settings import GatewaySettings
from voice_gateway.settings.worker_sections import TlsSection

WARN_BELOW: Final = 0.2
"""The part of its lifetime from which on a certificate should have been renewed."""
REMIND_EVERY_S: Final = 6 * 3600.0
_log = structlog.get_logger("voice_gateway.certificates.development")


class ServedCertificate:
    """Read from the files of `[tls]`; the `Reloadable` of that name.

    New handshakes get what was read last, connections that are up keep what they began with. What is read is served
    only once it has passed a QUIC handshake in memory and OpenSSL's own checks; the constructor raises
    `IdentityError` for what cannot be served.
    """

    name = "certificate"

    def __init__(self, files: TlsSection, clock: Callable[[], float]) -> None:
        self.identity = _load(files, clock())
        self._served = files
        self._clock = clock
        self._contexts: list[ssl.SSLContext] = []
        self._followers: list[Callable[[TlsIdentity], None]] = []
        self._reminder: asyncio.TimerHandle | None = None

    @property
    def expires(self) -> float:
        """When it ends to be valid, in seconds since 1970."""
        return self.identity.certificate.not_valid_after_utc.timestamp()

    def follow(self, follower: Callable[[TlsIdentity], None]) -> None:
        """Have `follower` called with each certificate that replaces the present one."""
        self._followers.append(follower)

    def tls_context(self) -> ssl.SSLContext:
        """Return a server's context that always shows the newest certificate; raises `IdentityError`."""
        context = _server_context(self._served)
        self._contexts.append(context)
        return context

    def files(self, settings: GatewaySettings) -> Iterable[Path]:
        return settings.tls.certificate, settings.tls.key

    def reload(self, settings: GatewaySettings) -> None:
        former, files = self.identity, settings.tls
        identity = _load(files, self._clock())
        for context in self._contexts:
            _load_chain(context, files)
        self.identity, self._served = identity, files
        for follow in self._followers:
            follow(identity)
        if identity.fingerprint_sha256 != former.fingerprint_sha256:
            _log.info("certificate_renewed", sha256=identity.fingerprint_sha256.hex(), expires=self._date())
            if self._reminder is not None:
                self.start()

    def start(self) -> None:
        """Log from now on when the certificate should have been renewed or has expired, every `REMIND_EVERY_S`."""
        self.stop()
        now = self._clock()
        certificate = self.identity.certificate
        lifetime: timedelta = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        left_s = self.expires - now
        quiet_s = left_s - WARN_BELOW * lifetime.total_seconds()
        if left_s <= 0:
            _log.error("certificate_expired", expires=self._date(), remedy="renew it: new callers cannot connect")
        elif quiet_s <= 0:
            _log.warning("certificate_expires_soon", expires=self._date(), hours_left=round(left_s / 3600))
        next_s = min(quiet_s, REMIND_EVERY_S) if quiet_s > 0 else REMIND_EVERY_S
        self._reminder = asyncio.get_running_loop().call_later(next_s, self.start)

    def stop(self) -> None:
        """Stop logging that."""
        if self._reminder is not None:
            self._reminder.cancel()
            self._reminder = None

    def _date(self) -> str:
        return f"{self.identity.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"


def _load(files: TlsSection, now: float) -> TlsIdentity:
    """Read and try what is to be served, on QUIC and on TCP; raises `IdentityError`."""
    identity = TlsIdentity.load(files.certificate, files.key, now=now)
    _server_context(files)
    handshake_in_memory(identity)
    return identity


def _server_context(files: TlsSection) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load_chain(context, files)
    return context


def _load_chain(context: ssl.SSLContext, files: TlsSection) -> None:
    try:
        context.load_cert_chain(files.certificate, files.key)
    except OSError as error:  # an ssl.SSLError, too
        raise IdentityError(f"{files.certificate}: {(error.strerror or str(error)).lower()}") from None
