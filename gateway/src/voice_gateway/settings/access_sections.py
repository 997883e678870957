"""The settings' sections on which callers are admitted, and how much each may do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from voice_gateway.access.keys import AccessKey, verification_key
from voice_gateway.access.limits import AccessLimits
from voice_gateway.access.tokens import DEFAULT_AUDIENCE, DEFAULT_MAX_LIFETIME_S
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.fields import (
    Section,
    TextOrList,
    check_origin,
    read_full_secret,
    read_text,
    split,
    unit,
)

Origin = Annotated[str, AfterValidator(check_origin)]
"""Where a page comes from, as browsers say it."""


class AccessSection(Section):
    """`[access]`: which callers are admitted. Without `token` and keys all are, without `origins` those of any page."""

    token: SecretStr | None = None
    """One access token for all callers. For a first try; signed tokens say who calls, and expire."""

    token_file: Path | None = None
    """The file with `token`."""

    secret: SecretStr | None = None
    """One more key of HS256, without an ID; at least 32 bytes."""

    secret_file: Path | None = None
    """The file with `secret`."""

    key_files: Annotated[tuple[Path, ...], BeforeValidator(split, json_schema_input_type=TextOrList)] = ()
    """What signed tokens are checked with: each file holds a public P-256 key in PEM (ES256) or a secret of at least 32
    bytes (HS256), and its name without suffix is the key's ID (`kid`). Name the old and the new one while keys
    change."""

    audience: str = Field(default=DEFAULT_AUDIENCE, min_length=1)
    """What signed tokens must name as `aud`. Give each deployment its own where one issuer serves several."""

    issuer: str | None = Field(default=None, min_length=1)
    """What they must name as `iss`; by default any. Set it where keys are shared with other services."""

    leeway_s: float = Field(default=10.0, ge=0, le=300)
    """How far the clocks of issuer and worker may differ. Raise it where clocks are not synchronised."""

    max_lifetime_s: float = Field(default=DEFAULT_MAX_LIFETIME_S, ge=60, le=315_360_000)
    """How long a signed token may be good from `iat` to `exp`, and from now to `exp`: one that is found in a log is
    worthless then. Lower it to what your clients need to get a fresh one; raise it for devices that are given theirs by
    hand."""

    origins: Annotated[tuple[Origin, ...] | None, BeforeValidator(split, json_schema_input_type=TextOrList)] = None
    """The web pages that may call, as `https://shop.example.com`; by default those of any origin. Set it where browsers
    call, so that no other page uses their network."""

    @property
    def is_open(self) -> bool:
        """Whether callers need no token."""
        return not (self.token or self.token_file or self.secret or self.secret_file or self.key_files)

    def read_token(self) -> str | None:
        """Return the token for all, from its file if need be; raises `ConfigurationError`."""
        return read_full_secret("access.token", self.token, self.token_file)

    def read_keys(self) -> tuple[AccessKey, ...]:
        """Return the keys of signed tokens; raises `ConfigurationError`."""
        texts = {
            path.stem: (f"access.key_files {path}", read_text(f"access.key_files {path}", path))
            for path in self.key_files
        }
        if len(texts) != len(self.key_files):
            raise ConfigurationError("access.key_files: two files have one name, and names are the keys' IDs")
        secret = read_full_secret("access.secret", self.secret, self.secret_file)
        if secret is not None:
            texts[""] = ("access.secret", secret)
        return tuple(_key(name, key_id, text) for key_id, (name, text) in texts.items())


class LimitsSection(Section):
    """`[limits]`: what one session, one address (an IPv4 address, an IPv6 /64) and one subject of tokens may do.

    `bytes` are what arrives, `messages` are control messages and audio frames: 60 s of a rate may come at once, as a
    caller that resumes has much to say. `attempts` are connections and requests for sessions: 10 s of a rate may come
    at once, after which an address must prove itself before it is refused. `sessions` are those at one time at this
    worker, from `start` until they can no longer be resumed; a resume is never refused for them.
    """

    session_bytes_per_s: float | None = Field(default=262_144, gt=0)
    """Of one session. Eight times what uncompressed speech takes; raise it for applications that send files."""

    session_messages_per_s: float | None = Field(default=200, gt=0)
    """Of one session. Speech takes 50; raise it for frames of 10 ms, or many messages of the application."""

    address_attempts_per_s: float | None = Field(default=50, gt=0)
    """Of one address. Raise it where offices or mobile networks put many callers behind one address."""

    address_sessions: int | None = Field(default=100, ge=1, json_schema_extra=unit("sessions"))
    """Of one address. Lets an office of a hundred in, and leaves four fifths of `session.max_sessions` to others. Raise
    it where a call centre or one carrier's customers call; lower it where each caller has an address of its own."""

    address_tcp_connections: int | None = Field(default=None, ge=1, json_schema_extra=unit("connections"))
    """How many connections to telephony, WebSocket and page one address has at once, from accept on; default three
    quarters of all that the descriptors allow. Lower it where no proxy is in front; a change needs a restart."""

    address_bytes_per_s: float | None = Field(default=None, gt=0)
    """Of all sessions of one address. Set it where addresses are not shared, against floods."""

    address_messages_per_s: float | None = Field(default=None, gt=0)
    """Of all sessions of one address, likewise."""

    subject_attempts_per_s: float | None = Field(default=None, gt=0)
    """Of one subject. Set it where tokens are given to strangers."""

    subject_sessions: int | None = Field(default=50, ge=1, json_schema_extra=unit("sessions"))
    """Of one subject: a person with a device or three, or a shop's tills. Keeps one lost token from more than a tenth
    of the worker. Raise it where one subject stands for a whole application."""

    subject_bytes_per_s: float | None = Field(default=None, gt=0)
    """Of all sessions of one subject. Set it where tokens are given to strangers."""

    subject_messages_per_s: float | None = Field(default=None, gt=0)
    """Of all sessions of one subject, likewise."""

    def build(self) -> AccessLimits:
        """Return them as the session layer takes them."""
        return AccessLimits(**self.model_dump(exclude={"address_tcp_connections"}))


def _key(name: str, key_id: str, text: str) -> AccessKey:
    try:
        return verification_key(key_id, text)
    except ConfigurationError as fault:
        raise ConfigurationError(f"{name}: {fault}") from None
