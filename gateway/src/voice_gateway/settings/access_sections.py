"""The settings' sections on which callers are admitted, and how much each may do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from voice_gateway.access.keys import AccessKey, verification_key
from voice_gateway.access.limits import AccessLimits
from voice_gateway.access.tokens import DEFAULT_AUDIENCE, DEFAULT_MAX_LIFETIME_S
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.fields import Section, check_origin, read_full_secret, read_text, split

Origin = Annotated[str, AfterValidator(check_origin)]
"""Where a page comes from, as browsers say it."""


class AccessSection(Section):
    """`[access]`: which callers are admitted. Without `token` and keys all are, without `origins` those of any page.

    `token` is one for all callers. `key_files` check signed tokens: each holds a public P-256 key in PEM (ES256) or a
    secret of at least 32 bytes (HS256), and its name without suffix is the key's ID (`kid`); name the old and the new
    one while keys change. `secret` is one more key of HS256, without an ID. Signed tokens must name `audience`, and
    `issuer` where it is given; clocks may differ by `leeway_s` (default 10 s, 0 to 300).

    A signed token may be good for `max_lifetime_s` (default 86,400 s, a day; 60 to 315,360,000) from `iat` to `exp` and
    from now to `exp`: one that is found in a log is worthless then. Lower it to what your clients need to get a fresh
    one; raise it for devices that are given theirs by hand.
    """

    token: SecretStr | None = None
    token_file: Path | None = None
    secret: SecretStr | None = None
    secret_file: Path | None = None
    key_files: Annotated[tuple[Path, ...], BeforeValidator(split)] = ()
    audience: str = Field(default=DEFAULT_AUDIENCE, min_length=1)
    issuer: str | None = Field(default=None, min_length=1)
    leeway_s: float = Field(default=10.0, ge=0, le=300)
    max_lifetime_s: float = Field(default=DEFAULT_MAX_LIFETIME_S, ge=60, le=315_360_000)
    origins: Annotated[tuple[Origin, ...] | None, BeforeValidator(split)] = None

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
    at once, after which an address must prove itself before it is refused.
    `address_tcp_connections` is how many connections to telephony, WebSocket and page one address has at once, from
    accept on; default three quarters of all that the descriptors allow. Lower it where no proxy is in front; a change
    needs a restart.

    `sessions` are those at one time at this worker, from `start` until they can no longer be resumed; a resume is never
    refused for them. Offices and mobile networks put many callers behind one address: `address_sessions` (100 by
    default, 1 or more) lets an office of a hundred in and leaves four fifths of `session.max_sessions` to others.
    Raise it where a call centre or one carrier's customers call; lower it where each caller has an address of its own.
    A subject is a person with a device or three, or a shop's tills: `subject_sessions` (50 by default, 1 or more) keeps
    one lost token from more than a tenth of the worker. Raise it where one subject stands for a whole application.
    """

    session_bytes_per_s: float | None = Field(default=262_144, gt=0)
    session_messages_per_s: float | None = Field(default=200, gt=0)
    address_attempts_per_s: float | None = Field(default=50, gt=0)
    address_sessions: int | None = Field(default=100, ge=1)
    address_tcp_connections: int | None = Field(default=None, ge=1)
    address_bytes_per_s: float | None = Field(default=None, gt=0)
    address_messages_per_s: float | None = Field(default=None, gt=0)
    subject_attempts_per_s: float | None = Field(default=None, gt=0)
    subject_sessions: int | None = Field(default=50, ge=1)
    subject_bytes_per_s: float | None = Field(default=None, gt=0)
    subject_messages_per_s: float | None = Field(default=None, gt=0)

    def build(self) -> AccessLimits:
        """Return them as the session layer takes them."""
        return AccessLimits(**self.model_dump(exclude={"address_tcp_connections"}))


def _key(name: str, key_id: str, text: str) -> AccessKey:
    try:
        return verification_key(key_id, text)
    except ConfigurationError as fault:
        raise ConfigurationError(f"{name}: {fault}") from None
