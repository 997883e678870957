"""What the present host of a call says: its events become the session's, the rest is the placement's."""

from __future__ import annotations

from voice_gateway.agent.base import AudioFormat, Emit, FinalTranscript
from voice_gateway.hosts.messages import (
    CheckpointSaved,
    Handled,
    Hello,
    Load,
    Refused,
    decode_from_host,
    encode_control,
)
from voice_gateway.hosts.worker.call.checkpoints import HostCheckpoints
from voice_gateway.hosts.worker.call.continuity import Continuity
from voice_gateway.hosts.worker.call.placement import HostPlacement
from voicelink.wire import Malformed


class HostMessages:
    """Reads the messages of each host that the call is at, until it is left; one that breaks the protocol ends it."""

    def __init__(self, emit: Emit, form: AudioFormat, continuity: Continuity, placement: HostPlacement) -> None:
        self._emit = emit
        self._form = form
        self._continuity = continuity
        self._placement = placement
        self._checkpoints = HostCheckpoints()

    def received(self, raw: bytes) -> None:
        """Take a message of the present host."""
        placement, attempt = self._placement, self._placement.attempt
        messages = decode_from_host(raw, self._form)
        if isinstance(messages, Malformed):
            placement.fail(f"the agent host breaks the protocol: {messages.reason}")
            return
        for message in messages:
            if not placement.is_at(attempt):
                return
            match message:
                case Hello():
                    placement.host_took_call()
                case Load():
                    pass
                case Handled(id=number):
                    self._continuity.handled(number)
                case Refused(reason=reason, is_final=is_final):
                    if is_final:
                        placement.fail(f"the agent host refuses the call: {reason}")
                    else:
                        placement.host_refused()
                case _:
                    if isinstance(message, FinalTranscript):
                        placement.turn_began()
                    for event in self._continuity.follow(self._checkpoints.numbered(message, attempt)):
                        self._emit(event)
        placement.leave_if_quiet()

    def saved(self, checkpoint: int) -> None:
        """Report a checkpoint that cannot be lost any more to the host that asked for it."""
        number = self._checkpoints.saved(checkpoint, self._placement.attempt)
        if number is not None:
            self._placement.send(encode_control([CheckpointSaved(checkpoint=number)]))
