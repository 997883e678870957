"""The two sides of a call as one inline SVG: the caller above, the agent below, trouble shaded."""

from __future__ import annotations

from html import escape
from typing import Final

import numpy as np

from voice_eval.call.record import CallRecord, Track

_WIDTH: Final = 960
_LANE: Final = 44
_AXIS: Final = 18
_FULL: Final = 12_000.0


def waveform_svg(record: CallRecord) -> str:
    """Return an `<svg>` element; its classes are styled by the page."""
    length_s = max(record.duration_s, 0.1)
    height = 2 * _LANE + _AXIS
    scale = _WIDTH / length_s
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="the call over {length_s:.1f} seconds" '
        'preserveAspectRatio="none">'
    ]
    for mark in record.marks:
        if mark.end_s is not None and mark.at_s < length_s:
            begin, end = max(0.0, mark.at_s), min(mark.end_s, length_s)
            parts.append(
                f'<rect class="outage" x="{begin * scale:.1f}" y="0" width="{(end - begin) * scale:.1f}" '
                f'height="{2 * _LANE}"><title>{escape(mark.text)}</title></rect>'
            )
    parts.append(_lane(record.said, "caller", 0, length_s))
    parts.append(_lane(record.played_audio, "agent", _LANE, length_s))
    for mark in record.marks:
        if mark.end_s is None and 0 <= mark.at_s < length_s:
            x = mark.at_s * scale
            kind = "fault" if mark.kind == "fault" else "mark"
            parts.append(
                f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{2 * _LANE}">'
                f"<title>{escape(f'{mark.kind}: {mark.text}')}</title></line>"
            )
    step = next(each for each in (1, 2, 5, 10, 30, 60, 300) if length_s / each <= 16)
    for second in range(0, int(length_s) + 1, step):
        parts.append(f'<text x="{second * scale:.1f}" y="{height - 4}">{second} s</text>')
    parts.append("</svg>")
    return "".join(parts)


def _lane(track: Track, name: str, top: int, length_s: float) -> str:
    """The loudest sample of each column, mirrored."""
    samples = track.samples()
    wanted = int(length_s * track.rate_hz)
    samples = np.concatenate((samples[:wanted], np.zeros(max(0, wanted - len(samples)), np.int16)))
    columns = np.array_split(np.abs(samples.astype(np.int32)), _WIDTH // 2)
    peaks = np.array([float(each.max()) if len(each) else 0.0 for each in columns])
    heights = np.minimum(1.0, peaks / _FULL) * (_LANE / 2 - 2)
    middle = top + _LANE / 2
    above = " ".join(f"{x * 2},{middle - h - 0.4:.1f}" for x, h in enumerate(heights))
    below = " ".join(f"{x * 2},{middle + h + 0.4:.1f}" for x, h in reversed(list(enumerate(heights))))
    return f'<polygon class="{name}" points="{above} {below}"/>'
