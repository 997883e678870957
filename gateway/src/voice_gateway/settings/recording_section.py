"""`[recording]` and `[webhooks]`: what is kept of calls, for how long, and who is notified of them."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.fields import List, Section, read_secret, unit

EVENTS: Final = ("call.started", "call.ended", "call.failed")
_SECRET_BYTES: Final = 24


class Consent(StrEnum):
    """How callers consent to a recording of their voice or words."""

    ANNOUNCED = "announced"
    """The operator has it before the call, or has the agent announce the recording: it holds from the beginning."""
    ASKED = "asked"
    """The agent asks for it, and says so (`RecordingConsent`); nothing is kept before that."""


class RecordingSection(Section):
    """`[recording]`: a timeline of each call, which by itself holds neither voice nor words nor addresses
    (gateway/docs/recording.md)."""

    folder: Path | None = None
    """Where workers write recordings; without it nothing is recorded."""

    storage: str | None = Field(default=None, pattern=r"^[a-z0-9+]+://", repr=False)
    """The URL of object storage, as `s3://BUCKET/PREFIX`, which takes each worker's part of a call once it is complete.
    It needs the extra `recording-storage`, and for S3 `s3fs`."""

    keep_audio: bool = False
    """Keep what both sides said as sound. Requires `consent`."""

    keep_transcripts: bool = False
    """Keep the words, with what is typed and what tools take and return. Requires `consent`."""

    keep_addresses: bool = False
    """Keep the addresses of callers."""

    consent: Consent | None = None
    """`announced`, where callers know before they speak, or `asked`, where the agent asks them and nothing is kept
    before that."""

    retention_days: float = Field(default=30.0, gt=0, le=36_500, json_schema_extra=unit("days"))
    """After so long a call is deleted."""

    audio_retention_days: float | None = Field(default=None, gt=0, le=36_500, json_schema_extra=unit("days"))
    """After so long the sound of a call is deleted; by default with the call."""

    redact: str | None = None
    """`package.module:function`, which is called with every text and its kind, and returns what may be kept of it, or
    `None`."""

    patience_s: float = Field(default=1.0, ge=0, le=30)
    """How long an acknowledgement waits for the disk. Lower it where a slow disk delays the callers' next words."""

    max_pending_bytes: int = Field(default=64 << 20, ge=1 << 20)
    """How much waits for the disk; what comes beyond is left out, and the recording says so."""

    fsync: bool = False
    """Let what is acknowledged survive the end of the machine, and not only of the worker."""

    @model_validator(mode="after")
    def _check_consent(self) -> Self:
        kept = [key for key in ("keep_audio", "keep_transcripts") if getattr(self, key)]
        if kept and self.consent is None:
            raise ValueError(
                f"{kept[0]} requires consent: announced, where callers know before they speak, or asked, where the "
                "agent asks them"
            )
        if self.folder is None and (kept or self.storage is not None):
            raise ValueError(f"{kept[0] if kept else 'storage'} requires folder, where workers write recordings first")
        return self


class WebhooksSection(Section):
    """`[webhooks]`: who gets a signed POST when a call starts, ends or fails (gateway/docs/recording.md)."""

    urls: List = Field(default=(), repr=False)
    """The addresses that notifications go to."""

    secret: SecretStr | None = None
    """What requests are signed with, as Standard Webhooks do: `whsec_` and 24 to 64 bytes in base64, or any text of at
    least 24 characters."""

    secret_file: Path | None = None
    """A file that holds the secret."""

    events: List = EVENTS
    """Those of `call.started`, `call.ended` and `call.failed` that are notified."""

    attempts: int = Field(default=8, ge=1, le=20, json_schema_extra=unit("requests"))
    """How often a request is tried, after 1 s and then twice as long each time."""

    timeout_s: float = Field(default=5.0, ge=0.1, le=60)
    """How long each attempt may take."""

    max_pending: int = Field(default=1_000, ge=1, le=100_000, json_schema_extra=unit("notifications"))
    """How many wait; the oldest give way."""

    @field_validator("urls")
    @classmethod
    def _check_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if not re.fullmatch(r"https?://[^/?#\s@]+([/?#]\S*)?", url):
                raise ValueError("each URL begins with http:// or https:// and has a host, without user or password")
        return urls

    @field_validator("events")
    @classmethod
    def _check_events(cls, events: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [event for event in events if event not in EVENTS]
        if unknown:
            raise ValueError(f"events are {', '.join(EVENTS)}, got {unknown[0]!r}")
        return events

    def read_webhook_secret(self) -> str | None:
        """Return the secret, from its file if need be; raises `ConfigurationError`."""
        secret = read_secret("webhooks.secret", self.secret, self.secret_file)
        if self.urls and secret is None:
            raise ConfigurationError("webhooks.urls requires webhooks.secret_file, by which receivers know the sender")
        if secret is not None and len(secret) < _SECRET_BYTES:
            raise ConfigurationError(f"webhooks.secret: at least {_SECRET_BYTES} characters")
        return secret
