"""What this package raises when its caller or the machine is at fault; a peer's mistakes never raise."""

from __future__ import annotations


class VoiceLinkError(Exception):
    """Root of the tree: one sentence that names the rule and the value."""


class CodecError(VoiceLinkError):
    """A codec refuses its settings or its input."""


class MissingDependencyError(VoiceLinkError):
    """A package or a program that is asked for is not installed."""
