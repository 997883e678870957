"""Sessions for the tests of their rules, and what their effects hold."""

from __future__ import annotations

from voice_gateway.session.core.effects import Close, Save
from voice_gateway.session.core.lifecycle.agreement import Agreement
from voice_gateway.session.core.session import Session
from voice_gateway.session.core.session_limits import Identity, SessionLimits
from voice_gateway.session.core.speech.agent_audio import AgentAudio
from voicelink.wire import AudioFrame, CloseCode, Codec, Error

AUDIO = AgentAudio(16_000, 24_000)
ONE_SECOND = bytes(48_000)
LIMITS = SessionLimits(early_frames=3, unacked_frames=10)


def frame(sequence: int) -> AudioFrame:
    return AudioFrame(sequence, sequence * 960, Codec.PCMU, b"\xff" * 160)


def new_session(limits: SessionLimits = LIMITS) -> Session:
    return Session(Identity("s-1", "worker-1", "order", AUDIO), limits, 0.0)


def start(session: Session, now: float, codec: Codec = Codec.OPUS):
    return session.start(Agreement(codec), now)


def closing(effects) -> CloseCode:
    """The two effects of a fault: the caller gets the error, and the transport closes with the same code."""
    assert isinstance(effects[0].message, Error)
    assert isinstance(effects[-1], Close)
    assert effects[0].message.code == effects[-1].code
    assert effects[0].message.message == effects[-1].reason
    return effects[-1].code


def save(effects) -> Save:
    (effect,) = (effect for effect in effects if isinstance(effect, Save))
    return effect
