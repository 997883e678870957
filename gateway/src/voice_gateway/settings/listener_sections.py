"""The settings' sections of the TCP listeners: admin, telephone calls, WebSocket, and the page."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from quiclb.settings.fields import HostNames, HostPort
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.fields import Section, check_url_authority, read_full_secret, read_secret
from voice_gateway.telephony.loading import check_vendor_name

_LEAST_TOKEN_CHARACTERS: Final = 16


class AdminSection(Section):
    """`[admin]`: where metrics, health and sessions are served; keep it where only operators reach it."""

    listen: HostPort = ("127.0.0.1", 9090)
    """Where they are served, over HTTP or by `tls` over HTTPS. With `voice-gateway up` the supervisor's; its workers
    have the ports behind it."""

    hosts: HostNames = ()
    """Names by which it may be asked for, besides IP addresses, `localhost` and this machine's host name;
    `*.example.com` is every name below. Others get 421, so that no web page reads it by DNS rebinding. Set it where
    Prometheus or a probe uses another name, such as that of a Kubernetes Service."""

    token: SecretStr | None = None
    """Operators who send it, of at least 16 ASCII characters, may watch and steer sessions, hear recordings, drain the
    worker, change its log level and record qlogs (gateway/docs/admin.md). Without one these operations are off."""

    token_file: Path | None = None
    """A file with the token, which is read again when it changes."""

    tls: bool = False
    """Serve all of it by the certificate of `[tls]`. Set it where the token crosses a network."""

    show_words: bool = False
    """Add what is said to the events that operators watch."""

    def read_token(self) -> str | None:
        """Return the token, from its file if need be; raises `ConfigurationError`."""
        token = read_secret("admin.token", self.token, self.token_file)
        if token is not None and len(token) < _LEAST_TOKEN_CHARACTERS:
            raise ConfigurationError(f"admin.token: must have at least {_LEAST_TOKEN_CHARACTERS} characters")
        if token is not None and not token.isascii():
            raise ConfigurationError("admin.token: must be ASCII, as the header that it comes in")
        return token


class TelephonySection(Section):
    """`[telephony]`: where Twilio reaches this worker: `/twiml` for webhooks, `/v1/twilio` for Media Streams.

    All workers that take the calls of one number have the same secrets, and share the session store.
    """

    listen: HostPort
    """Where webhooks and media streams come."""

    vendor: Annotated[str, AfterValidator(check_vendor_name)] = "twilio"
    """A name of the entry point group `voice_gateway.telephony`; others than `twilio` have paths of their own."""

    public_url: str | None = None
    """The address that Twilio calls, as `https://gateway.example.com`; required with a secret, since signatures cover
    it, and the `Host` of a request is chosen by its sender."""

    auth_token: SecretStr | None = None
    """That of the Twilio account: only Twilio gets in with one. Set it wherever others can reach the port."""

    auth_token_file: Path | None = None
    """The file with `auth_token`."""

    shared_key: SecretStr | None = None
    """For signatures by SHA-256, likewise."""

    shared_key_file: Path | None = None
    """The file with `shared_key`."""

    tls: bool = True
    """Whether TLS is made here, with the files of `[tls]`: Twilio speaks nothing else. Set false where a proxy does."""

    @field_validator("public_url")
    @classmethod
    def _check_form(cls, url: str | None) -> str | None:
        if url is None or re.fullmatch(r"https?://[^/?#]+", url):
            return url if url is None else check_url_authority(url)
        raise ValueError(f"must be scheme and host without a path, such as https://gateway.example.com, got {url!r}")

    @model_validator(mode="after")
    def _check_public_url(self) -> Self:
        secrets = ("auth_token", "auth_token_file", "shared_key", "shared_key_file")
        given = [name for name in secrets if getattr(self, name) is not None]
        if given and self.public_url is None:
            raise ValueError(
                f"telephony.{given[0]} requires telephony.public_url, the address that Twilio calls and signs, "
                "such as https://gateway.example.com"
            )
        return self

    def read_auth_token(self) -> str | None:
        """Return the token, from its file if need be; raises `ConfigurationError`."""
        return read_full_secret("telephony.auth_token", self.auth_token, self.auth_token_file)

    def read_shared_key(self) -> str | None:
        """Return the key, from its file if need be; raises `ConfigurationError`."""
        return read_full_secret("telephony.shared_key", self.shared_key, self.shared_key_file)

    def is_signed(self) -> bool:
        """Whether a secret tells the vendor's requests from those of others; raises `ConfigurationError`."""
        return (self.read_auth_token() or self.read_shared_key()) is not None


class WebSocketSection(Section):
    """`[websocket]`: where the voice protocol is spoken over TCP, for callers without UDP."""

    listen: HostPort
    """Where WebSockets come; the page's port takes them, too."""

    tls: bool = True
    """Whether TLS is made here, with the files of `[tls]`. Set false where a proxy does."""


class PageSection(Section):
    """`[page]`: where browsers get the page that calls this gateway; the same port takes its WebSockets."""

    listen: HostPort
    """Where the page is served."""

    tls: bool = True
    """Whether TLS is made here. Set false where a proxy does: browsers give the microphone to pages of https and of
    loopback addresses only."""

    shared_port: bool = False
    """Whether other workers of this host, each with this setting, listen on the same port. `voice-gateway up` shares
    its listeners by itself."""

    voice_url: str | None = None
    """What the page calls, as `https://gateway.example.com/v1/voice`; default the port of `worker.listen` on the host
    that the page came from. Required behind a load balancer."""

    development: bool = False
    """Gives the page what it cannot know: the access token and the certificate's hash. `listen` must be a loopback
    address, and only requests are answered whose `Host` is one, or `localhost`."""

    demo_url: str | None = Field(default=None, pattern=r"^http://[^/?#\s;,]+$")
    """Where the page's buttons that break things lead; with `development` alone. `make serve` sets it."""

    @field_validator("voice_url")
    @classmethod
    def _check_form(cls, url: str | None) -> str | None:
        if url is None or re.fullmatch(r"https://[^/?#\s;,]+/[^?#\s;,]*", url):
            return url if url is None else check_url_authority(url)
        raise ValueError(f"must be https, a host and a path, such as https://gateway.example.com/v1/voice, got {url!r}")

    @model_validator(mode="after")
    def _check_development(self) -> Self:
        if self.demo_url is not None and not self.development:
            raise ValueError("demo_url is for development")
        if self.development and not ipaddress.ip_address(self.listen[0]).is_loopback:
            raise ValueError("development gives the access token away: listen must be a loopback address")
        return self
