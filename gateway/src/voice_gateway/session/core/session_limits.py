"""The limits of a session, and its identity."""

from __future__ import annotations

from dataclasses import dataclass

from voice_gateway.session.core.speech.agent_audio import AgentAudio


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long and how much a session waits before it gives up.

    `unacked_frames` bounds what the caller must keep for a resume (12 000 frames of 20 ms are four minutes), and
    `waiting_bytes` what of it waits to be decoded (as many frames of PCM16 at 16 kHz);
    `early_frames` and `early_bytes` bound what is kept of audio that overtook `start`; `finish_timeout_s` is how long
    an agent may emit nothing after the caller's `bye`; `resume_window_s` is how long a session without a connection
    is kept; `transfer_timeout_s` is how long a client has to acknowledge a transfer.
    """

    start_timeout_s: float = 10.0
    idle_timeout_s: float = 30.0
    finish_timeout_s: float = 30.0
    playout_grace_s: float = 3.0
    silence_interval_s: float = 2.0
    save_retry_s: float = 1.0
    resume_window_s: float = 60.0
    early_frames: int = 250
    early_bytes: int = 512 * 1024
    unacked_frames: int = 12_000
    waiting_bytes: int = 8 * 1024 * 1024
    transfer_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Identity:
    """The session, its worker and its agent by name; `subject` is the one that began it, of its access token."""

    session_id: str
    worker: str
    agent: str
    audio: AgentAudio
    subject: str | None = None
