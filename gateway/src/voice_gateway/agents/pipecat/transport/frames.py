"""Frames of a voice session's own kinds: audio with its sequence, and words that were played."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pipecat.frames.frames import Frame, InputAudioRawFrame, SystemFrame, TTSTextFrame
from pipecat.processors.frame_processor import FrameDirection

SAMPLE_BYTES: Final = 2
TimedFrame = tuple[Frame, FrameDirection]
"""A frame that waits until what it belongs to is played."""


class PlayedTextFrame(TTSTextFrame, SystemFrame):
    """Words that were heard. As a system frame they are not dropped by the interruption that follows them."""


@dataclass
class CallerAudioFrame(InputAudioRawFrame):
    """Once it reaches the output, the pipeline has heard it: those without a sequence are silence behind its audio."""

    sequence: int | None = field(default=None, init=False)


def as_played(frame: TTSTextFrame, text: str) -> PlayedTextFrame:
    """Return the frame as one that overtakes nothing and is not dropped."""
    heard = PlayedTextFrame(text=text, text_type=frame.text_type, segment_id=frame.segment_id)
    heard.context_id = frame.context_id
    heard.append_to_context = frame.append_to_context
    heard.includes_inter_frame_spaces = frame.includes_inter_frame_spaces
    heard.will_be_spoken = frame.will_be_spoken
    if text == frame.text:
        heard.raw_text = frame.raw_text
    return heard
