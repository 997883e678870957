"""What an application chooses for a call, in the groups that `VoiceClient` takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from voice_client.access_token import TokenSource
from voice_client.audio.player import Sink
from voice_client.deprecation import warn_renamed
from voice_client.errors import InvalidSetting
from voice_client.transport.credentials import CredentialStore
from voicelink.wire import UplinkMode

CODECS: Final = ("opus", "pcm16")


@dataclass(frozen=True, slots=True)
class Security:
    """How the two ends know each other. At most one of `ca_file` and `certificate_hash`; with neither, the public CAs.

    `token`: access token of printable ASCII, or a function, async or not, that returns one at each connection: a token
    may expire before the call ends. Default: none.
    `ca_file`: PEM file of the certificate authorities to trust.
    `certificate_hash`: SHA-256 fingerprint of the server's certificate, 64 hexadecimal digits; colons are allowed.
    """

    token: str | TokenSource | None = field(default=None, repr=False)
    ca_file: str | Path | None = None
    certificate_hash: str | None = None


@dataclass(frozen=True, slots=True)
class AudioOptions:
    """What is spoken and played.

    `codec`: "opus" (default) or "pcm16", in both directions; PCM16 needs about 256 kbit/s up and 384 kbit/s down.
    `has_playback`: play answers at the pace of speech (default). With False an answer counts as played as soon as all
    of it has arrived.
    `sinks`: each is given what is played, PCM16 mono at 24 kHz. A sink that raises is closed (`SinkFailed`). Default:
    none.
    """

    codec: Literal["opus", "pcm16"] = "opus"
    has_playback: bool = True
    sinks: Sequence[Sink] = ()

    def __post_init__(self) -> None:
        _one_of("AudioOptions.codec", self.codec, CODECS)


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """From where to connect, and how long to try.

    `local_address`: IP address, `host:port` or `[v6]:port` to send from. Default: the system's choice.
    `connect_timeout_s`: seconds until `ConnectError` where no session has opened, above 0. Default: 10.
    `heartbeat_s`: seconds between pings, above 0. Default: 0.25. An outage is noticed while something waits for an
    acknowledgement: with a longer interval, a caller who sends no audio notices it later.
    `resume_timeout_s`: seconds for which a lost call tries to resume over another connection, 0 or more; 0 ends it at
    once. Default: 60.
    `credentials`: session tickets and address tokens that make further connections quicker; share one between calls.
    Default: a store for this client alone, in memory.
    `qlog`: log each QUIC connection (draft-ietf-quic-qlog-main-schema): a directory for one file for each, named by the
    original destination connection ID, or a function that takes each finished log. A log is in memory until its
    connection ends; it holds addresses, connection IDs and address tokens, and no payload. Default: no log.
    """

    local_address: str | None = None
    connect_timeout_s: float = 10.0
    heartbeat_s: float = 0.25
    resume_timeout_s: float = 60.0
    credentials: CredentialStore | None = field(default=None, repr=False)
    qlog: str | Path | Callable[[dict[str, Any]], None] | None = None

    def __post_init__(self) -> None:
        _above_zero("ConnectionOptions.connect_timeout_s", self.connect_timeout_s)
        _above_zero("ConnectionOptions.heartbeat_s", self.heartbeat_s)
        if not self.resume_timeout_s >= 0:
            raise InvalidSetting(
                f"ConnectionOptions.resume_timeout_s is {self.resume_timeout_s:g}: give 0 s (no resume) or more"
            )
        if isinstance(self.qlog, str | Path) and not Path(self.qlog).is_dir():
            raise InvalidSetting(f"ConnectionOptions.qlog is {str(self.qlog)!r}: give a directory that exists")


@dataclass(frozen=True, slots=True)
class UplinkOptions:
    """How audio frames travel to the server (PROTOCOL.md 11).

    `mode`: "reliable" (default), on one stream: complete, but late where packets are lost; "hybrid", in datagrams that
    are repeated and repaired: complete, and seldom late; "deadline", like hybrid, but frames older than `limit_s` are
    given up. A server that knows none but "reliable" uses that.
    `limit_s`: seconds, above 0, for the mode "deadline". Default: 0.5.
    """

    mode: Literal["reliable", "hybrid", "deadline"] = "reliable"
    limit_s: float = 0.5

    def __post_init__(self) -> None:
        _one_of("UplinkOptions.mode", self.mode, tuple(str(mode) for mode in UplinkMode))
        _above_zero("UplinkOptions.limit_s", self.limit_s)


Group = Security | AudioOptions | ConnectionOptions | UplinkOptions

GROUPS: Final[Mapping[str, type[Group]]] = {
    "security": Security,
    "audio": AudioOptions,
    "connection": ConnectionOptions,
    "uplink": UplinkOptions,
}
_FORMER: Final[Mapping[str, tuple[str, str]]] = {
    "uplink": ("uplink", "mode"),
    "uplink_limit_s": ("uplink", "limit_s"),
    **{
        each.name: (name, each.name)
        for name, group in GROUPS.items()
        if group is not UplinkOptions
        for each in dataclasses.fields(group)
        if each.name != "qlog"
    },
}
"""The flat keywords that `VoiceClient` took before, and the group and option of each."""


def grouped(former: Mapping[str, Any]) -> dict[str, Any]:
    """Return the option groups for keywords of the former flat spelling; other keywords stay as they are."""
    groups: dict[str, dict[str, Any]] = {}
    others: dict[str, Any] = {}
    for keyword, value in former.items():
        if keyword in _FORMER and not isinstance(value, UplinkOptions):
            group, option = _FORMER[keyword]
            groups.setdefault(group, {})[option] = value
        else:
            others[keyword] = value
    return {**others, **{group: GROUPS[group](**options) for group, options in groups.items()}}


def former_keywords(former: Mapping[str, Any], given: Mapping[str, Group | None]) -> dict[str, Any]:
    """Return the groups for deprecated keywords, with a warning each that names the new spelling.

    Raises `TypeError` for a keyword that never was, `InvalidSetting` for one whose group is `given` as well.
    """
    for keyword, value in former.items():
        if keyword not in _FORMER:
            raise TypeError(f"VoiceClient has no option {keyword!r}; it takes {', '.join(GROUPS)}, agent and rng")
        group, option = _FORMER[keyword]
        spelling = f"{group}={GROUPS[group].__name__}({option}=...)"
        if given.get(group) is not None:
            raise InvalidSetting(f"VoiceClient got {keyword} and {group}: give {spelling} alone")
        shown = repr(value) if keyword == "uplink" else "..."
        warn_renamed(f"VoiceClient({keyword}={shown})", spelling, stacklevel=3)
    return grouped(former)


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InvalidSetting(f"{option} is {value!r}: choose one of {', '.join(allowed)}")


def _above_zero(option: str, value: float) -> None:
    if not value > 0:
        raise InvalidSetting(f"{option} is {value:g}: give more than 0 s")
