"""What `VoiceClient` gives its call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from voice_client.audio.player import Sink
from voice_client.call.tools import Tools
from voicelink.wire import Codec, UplinkMode


@dataclass(frozen=True, slots=True)
class CallSettings:
    """How to speak and listen; `accept` is what the server may answer in, most wanted first."""

    codec: Codec
    accept: tuple[Codec, ...]
    agent: str | None = None
    has_playback: bool = True
    sinks: Sequence[Sink] = ()
    heartbeat_s: float = 0.25
    resume_timeout_s: float = 60.0
    uplink: UplinkMode = UplinkMode.RELIABLE
    uplink_limit_s: float = 0.5
    tools: Tools = field(default_factory=Tools, compare=False)
