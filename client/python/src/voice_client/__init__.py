"""Call a voice gateway from Python.

    import asyncio
    from voice_client import Security, VoiceClient

    async def main() -> None:
        security = Security(ca_file="certs/dev/ca.pem")
        async with VoiceClient("https://127.0.0.1:4433/v1/voice", security=security) as call:
            await call.listen()                                 # the greeting
            speaking = asyncio.create_task(call.speak("speech.wav"))
            print(await call.migrate())                         # a new socket in mid-speech, the same call
            await speaking
            await call.finish()                                 # all acked, answered and played
            print(*(f"{line.role}: {line.text}" for line in call.transcript), call.state, sep="\\n")

    asyncio.run(main())

`voice_client.errors` says why there is no call.
"""

from voice_client.access_token import TokenSource
from voice_client.audio.source import PcmSource, Source, open_wav
from voice_client.call.report import CallReport
from voice_client.call.turns import TurnLatency
from voice_client.errors import (
    AccessRefused,
    CallLost,
    CertificateRefused,
    ClientError,
    ConnectError,
    InvalidSetting,
    MessageError,
    MigrationFailed,
    ProtocolFault,
    ServerDrained,
    SessionFailed,
    SessionRefused,
    SourceError,
    Unreachable,
    UplinkFull,
)
from voice_client.events import (
    Acked,
    AppMessage,
    Closed,
    Connected,
    Draining,
    Event,
    Flushed,
    Heard,
    Interrupted,
    Migration,
    PathChanged,
    Resumed,
    SinkFailed,
    Speech,
    SpeechEnded,
    StateChanged,
    ToolCalled,
    Transcript,
    Transferred,
    TurnMeasured,
)
from voice_client.options import AudioOptions, ConnectionOptions, Security, UplinkOptions
from voice_client.transport.credentials import CredentialStore
from voice_client.voice_client import VoiceClient

__all__ = [
    "AccessRefused",
    "Acked",
    "AppMessage",
    "AudioOptions",
    "CallLost",
    "CallReport",
    "CertificateRefused",
    "ClientError",
    "Closed",
    "ConnectError",
    "Connected",
    "ConnectionOptions",
    "CredentialStore",
    "Draining",
    "Event",
    "Flushed",
    "Heard",
    "Interrupted",
    "InvalidSetting",
    "MessageError",
    "Migration",
    "MigrationFailed",
    "PathChanged",
    "PcmSource",
    "ProtocolFault",
    "Resumed",
    "Security",
    "ServerDrained",
    "SessionFailed",
    "SessionRefused",
    "SinkFailed",
    "Source",
    "SourceError",
    "Speech",
    "SpeechEnded",
    "StateChanged",
    "TokenSource",
    "ToolCalled",
    "Transcript",
    "Transferred",
    "TurnLatency",
    "TurnMeasured",
    "Unreachable",
    "UplinkFull",
    "UplinkOptions",
    "VoiceClient",
    "open_wav",
]
