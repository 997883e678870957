"""Twilio: Media Streams, TwiML and signatures as a `Vendor`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from voice_gateway.telephony.vendor import (
    Document,
    Form,
    KeyPressed,
    MarkReturned,
    MediaReceived,
    Skip,
    StreamStarted,
    StreamStopped,
    Vendor,
    VendorEvent,
    Webhook,
)
from voice_gateway.telephony.vendors.twilio import messages
from voice_gateway.telephony.vendors.twilio.signature import SIGNATURE_HEADER, SignatureCheck
from voice_gateway.telephony.vendors.twilio.twiml import EMPTY_RESPONSE, connect_stream

IDEMPOTENCY_HEADER: Final = "i-twilio-idempotency-token"


class TwilioVendor(Vendor):
    """Twilio queues what it is sent and plays it in order; marks and `clear` follow that queue."""

    name: ClassVar[str] = "twilio"
    stream_path: ClassVar[str] = "/v1/twilio"
    webhook_path: ClassVar[str] = "/twiml"
    signature_header: ClassVar[str] = SIGNATURE_HEADER

    def parse(self, text: bytes) -> VendorEvent | Skip | None:
        message = messages.parse_message(text)
        match message:
            case messages.Media():
                payload = (
                    messages.parse_payload(message.media.payload)
                    if message.media.track == "inbound"
                    else Skip.OTHER_TRACK
                )
                return MediaReceived(message.stream_sid, payload, message.media.timestamp, message.sequence_number)
            case messages.Mark():
                return MarkReturned(message.stream_sid, message.mark.name, message.sequence_number)
            case messages.Dtmf():
                return KeyPressed(message.stream_sid, message.dtmf.digit, message.sequence_number)
            case messages.Start():
                return _started(message)
            case messages.Stop():
                return StreamStopped(message.stream_sid, message.sequence_number)
            case messages.Connected():
                return None
        return message

    def media(self, stream_id: str, payload: bytes) -> bytes:
        return messages.media(stream_id, payload)

    def mark(self, stream_id: str, name: str) -> bytes | None:
        return messages.mark(stream_id, name)

    def clear(self, stream_id: str) -> bytes | None:
        return messages.clear(stream_id)

    def webhook(self, fields: Mapping[str, str], headers: Mapping[str, str]) -> Webhook:
        is_over = fields.get("CallStatus") in _OVER
        return Webhook(fields.get("CallSid") or None, is_over, headers.get(IDEMPOTENCY_HEADER, ""))

    def connect(self, stream_url: str, parameters: Mapping[str, str], again_url: str) -> Document:
        return Document(connect_stream(stream_url, parameters, again_url), _XML)

    def hang_up(self) -> Document:
        return Document(EMPTY_RESPONSE, _XML)

    def is_genuine(self, url: str, form: Form, headers: Mapping[str, str]) -> bool:
        return SignatureCheck(self.secrets.auth_token, self.secrets.shared_key).is_genuine(url, form, headers)


def _started(message: messages.Start) -> StreamStarted | Skip:
    facts = message.start
    if facts.stream_sid != message.stream_sid:
        return Skip.WRONG_STREAM
    audio = facts.media_format
    is_usable = (audio.encoding, audio.sample_rate, audio.channels) == messages.MEDIA_FORMAT
    fault = None if is_usable else "audio must be mu-law at 8000 Hz on one channel"
    return StreamStarted(facts.stream_sid, facts.call_sid, facts.custom_parameters, fault, message.sequence_number)


_OVER: Final = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})
_XML: Final = "text/xml; charset=utf-8"
