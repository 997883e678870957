"""What a caller sends, as a file for the generator: Opus packets, with the gaps that DTX leaves."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voicelink.audio.codecs.opus import OpusEncoder

RATE_HZ = 16_000
FRAME_MS = 20
TICKS_PER_MS = 48


@dataclass(frozen=True, slots=True)
class Talk:
    """`talk_s` of voice, 50 packets a second, then `pause_s` with a packet every `pause_ms`, and over again."""

    talk_s: float = 2.0
    pause_s: float = 3.0
    pause_ms: int = 100

    @property
    def period_s(self) -> float:
        return self.talk_s + self.pause_s

    @property
    def frames_per_s(self) -> float:
        """The mean over a period."""
        return len(self.frames()) / self.period_s

    def frames(self) -> list[tuple[int, bytes]]:
        """Return (tick, packet) of one period."""
        encoder = OpusEncoder(RATE_HZ)
        talk_ms, period_ms = round(self.talk_s * 1000), round(self.period_s * 1000)
        samples = np.random.default_rng(7).normal(0, 4000, talk_ms * RATE_HZ // 1000)
        voice = samples.clip(-32768, 32767).astype("<i2").tobytes()
        frames = []
        for at_ms in range(0, period_ms, FRAME_MS):
            start = at_ms // FRAME_MS * encoder.frame_bytes
            packet = encoder.encode(voice[start : start + encoder.frame_bytes].ljust(encoder.frame_bytes, b"\0"))
            if at_ms < talk_ms or (at_ms - talk_ms) % self.pause_ms == 0:
                frames.append((at_ms * TICKS_PER_MS, packet))
        return frames

    def write(self, path: Path) -> Path:
        """Write the file that `native/src/traffic.rs` describes, and return its path."""
        parts = [struct.pack(">I", round(self.period_s * 1000) * TICKS_PER_MS)]
        parts += [struct.pack(">IH", tick, len(packet)) + packet for tick, packet in self.frames()]
        path.write_bytes(b"".join(parts))
        return path


CONVERSATION = Talk()
"""As the project's clients send it: two fifths of the time voice, one packet in five where Opus finds silence."""
SELDOM = Talk(talk_s=1.0, pause_s=9.0)
"""For memory: every session speaks, and 120 of them do not overload one core, whose queues would count as memory.

With fewer packets in a pause a decoder goes on with the noise before it: half of the pause would be heard, and echoed,
as voice, and sessions would hold seconds of it."""


@dataclass(frozen=True, slots=True)
class TrafficPattern:
    """What `Talk.write` wrote, as callers in Python send it over and over; `native/src/traffic.rs` is its twin."""

    period: int
    """Ticks."""
    frames: tuple[tuple[int, bytes], ...]
    """(tick, packet); none for a caller that only listens."""

    @classmethod
    def read(cls, path: Path) -> TrafficPattern:
        """Read the file; raises `struct.error` for another one."""
        data = path.read_bytes()
        (period,) = struct.unpack_from(">I", data)
        frames, at = [], 4
        while at < len(data):
            tick, length = struct.unpack_from(">IH", data, at)
            frames.append((tick, data[at + 6 : at + 6 + length]))
            at += 6 + length
        return cls(period, tuple(frames))

    def offset(self, rank: int) -> int:
        """Where the call of this rank begins, so that calls do not speak in step: golden sections of the period."""
        return int(rank * 0.61803398875 % 1 * len(self.frames))

    def frame(self, offset: int, sequence: int) -> tuple[int, bytes]:
        """Return (tick from 0, packet) of a frame of a call that begins at `offset`."""
        turn, index = divmod(offset + sequence, len(self.frames))
        tick, packet = self.frames[index]
        return tick + turn * self.period - self.frames[offset][0], packet

    def is_speech(self, offset: int, sequence: int) -> bool:
        """Whether a neighbour is due one packet time away, as where no silence is left out."""
        before, here, after = (self.frame(offset, each)[0] for each in (sequence - 1, sequence, sequence + 1))
        return min(here - before, after - here) == FRAME_MS * TICKS_PER_MS
