"""The transport of one call: Pipecat's input and output over a voice session."""

from __future__ import annotations

from typing import Final

from pipecat.transports.base_transport import BaseTransport, TransportParams

from voice_gateway.agents.pipecat.transport.events import TransportParts
from voice_gateway.agents.pipecat.transport.input import VoiceInput
from voice_gateway.agents.pipecat.transport.output.voice_output import VoiceOutput

_WRITE_TIMEOUT_S: Final = 7 * 86_400.0
"""A write that exceeds its timeout makes Pipecat's output unusable for good; a caller may be away for long."""


class VoiceTransport(BaseTransport):
    """`transport.input()` and `transport.output()` of one call's pipeline.

    Events, as of Pipecat's other transports: `on_client_connected` once for each new call, `on_client_disconnected` at
    its end; `on_client_resumed` where another worker goes on with the call, or the caller was cut off and lost words.
    """

    def __init__(self, parts: TransportParts, input_rate_hz: int, output_rate_hz: int) -> None:
        super().__init__()
        self.params = TransportParams(
            audio_in_enabled=True,
            audio_in_sample_rate=input_rate_hz,
            audio_out_enabled=True,
            audio_out_sample_rate=output_rate_hz,
            audio_out_10ms_chunks=2,
            audio_out_end_silence_secs=0,
            audio_out_write_timeout_secs=_WRITE_TIMEOUT_S,
        )
        self._input = VoiceInput(parts.turns, self.params, input_rate_hz)
        self._output = VoiceOutput(parts, self.params, output_rate_hz, self._input)
        for event in ("on_client_connected", "on_client_resumed", "on_client_disconnected"):
            self._register_event_handler(event)

    def input(self) -> VoiceInput:
        return self._input

    def output(self) -> VoiceOutput:
        return self._output

    async def happened(self, event: str) -> None:
        """Call the handlers of an event; its second argument, the client, is the transport itself."""
        await self._call_event_handler(event, self)
