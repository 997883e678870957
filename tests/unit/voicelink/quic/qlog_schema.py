"""What a qlog must be for qvis: version 0.3 of the main schema, the events of draft-marx-quic-qlog-quic-events.

Optional fields are left out where nothing of ours has them; further fields are allowed, as the schema says.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

import msgspec

Hex = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{2})*$")]
Number = Annotated[int, msgspec.Meta(ge=0)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0)]


class Frame(msgspec.Struct, tag_field="frame_type"):
    """Any frame."""


class Padding(Frame, tag="padding"): ...


class PingFrame(Frame, tag="ping"): ...


class Ack(Frame, tag="ack"):
    acked_ranges: list[tuple[Number, Number]]
    ack_delay: Milliseconds


class ResetStream(Frame, tag="reset_stream"):
    stream_id: Number
    error_code: Number
    final_size: Number


class StopSending(Frame, tag="stop_sending"):
    stream_id: Number
    error_code: Number


class Crypto(Frame, tag="crypto"):
    offset: Number
    length: Number


class NewToken(Frame, tag="new_token"):
    token: str


class StreamFrame(Frame, tag="stream"):
    stream_id: Number
    offset: Number
    length: Number
    fin: bool = False


class MaxData(Frame, tag="max_data"):
    maximum: Number


class MaxStreamData(Frame, tag="max_stream_data"):
    stream_id: Number
    maximum: Number


class MaxStreams(Frame, tag="max_streams"):
    stream_type: Literal["bidirectional", "unidirectional"]
    maximum: Number


class DataBlocked(Frame, tag="data_blocked"):
    limit: Number


class StreamDataBlocked(Frame, tag="stream_data_blocked"):
    stream_id: Number
    limit: Number


class StreamsBlocked(Frame, tag="streams_blocked"):
    stream_type: Literal["bidirectional", "unidirectional"]
    limit: Number


class NewConnectionId(Frame, tag="new_connection_id"):
    sequence_number: Number
    retire_prior_to: Number
    connection_id: Hex


class RetireConnectionId(Frame, tag="retire_connection_id"):
    sequence_number: Number


class PathChallenge(Frame, tag="path_challenge"):
    data: Hex


class PathResponse(Frame, tag="path_response"):
    data: Hex


class ConnectionClose(Frame, tag="connection_close"):
    error_space: Literal["transport", "application"]
    error_code: Number
    reason: str


class HandshakeDone(Frame, tag="handshake_done"): ...


class Datagram(Frame, tag="datagram"):
    length: Number


AnyFrame = (
    Padding | PingFrame | Ack | ResetStream | StopSending | Crypto | NewToken | StreamFrame | MaxData | MaxStreamData
    | MaxStreams | DataBlocked | StreamDataBlocked | StreamsBlocked | NewConnectionId | RetireConnectionId
    | PathChallenge | PathResponse | ConnectionClose | HandshakeDone | Datagram
)  # fmt: skip
PacketType = Literal["initial", "handshake", "0RTT", "1RTT", "retry", "version_negotiation"]


class RawInfo(msgspec.Struct):
    length: Number


class PacketHeader(msgspec.Struct):
    packet_type: PacketType
    packet_number: Number | None = None
    scid: Hex = ""
    dcid: Hex = ""


class Packet(msgspec.Struct):
    """`transport:packet_sent` and `transport:packet_received`."""

    header: PacketHeader
    raw: RawInfo
    frames: list[AnyFrame] = []


class Dropped(msgspec.Struct):
    trigger: str
    raw: RawInfo


class Datagrams(msgspec.Struct):
    count: Number
    raw: list[RawInfo]


class ParametersSet(msgspec.Struct):
    owner: Literal["local", "remote"]


class MetricsUpdated(msgspec.Struct):
    """Each field only where it changed; times in ms."""

    cwnd: Number | None = None
    bytes_in_flight: Number | None = None
    latest_rtt: Milliseconds | None = None
    min_rtt: Milliseconds | None = None
    smoothed_rtt: Milliseconds | None = None


class PacketLost(msgspec.Struct):
    type: PacketType
    packet_number: Number


class KeyUpdated(msgspec.Struct):
    key_type: str
    trigger: str


class SpinBitUpdated(msgspec.Struct):
    state: bool


EVENTS: dict[str, type] = {
    "transport:packet_sent": Packet,
    "transport:packet_received": Packet,
    "transport:packet_dropped": Dropped,
    "transport:datagrams_sent": Datagrams,
    "transport:datagrams_received": Datagrams,
    "transport:parameters_set": ParametersSet,
    "transport:alpn_information": dict,
    "transport:version_information": dict,
    "recovery:metrics_updated": MetricsUpdated,
    "recovery:packet_lost": PacketLost,
    "recovery:loss_timer_updated": dict,
    "security:key_updated": KeyUpdated,
    "security:key_retired": KeyUpdated,
    "connectivity:spin_bit_updated": SpinBitUpdated,
}


class Event(msgspec.Struct):
    """`time` is absolute, in ms since 1970."""

    time: Annotated[float, msgspec.Meta(gt=1.5e12)]
    name: Annotated[str, msgspec.Meta(pattern="^[a-z]+:[a-z_]+$")]
    data: Any


class VantagePoint(msgspec.Struct):
    type: Literal["client", "server", "network"]
    name: str


class Trace(msgspec.Struct):
    vantage_point: VantagePoint
    common_fields: dict[str, str]
    events: Annotated[list[Event], msgspec.Meta(min_length=1)]


class QlogFile(msgspec.Struct):
    """A whole file; qvis takes `0.3` and `draft-02`."""

    qlog_version: Literal["0.3"]
    qlog_format: Literal["JSON"]
    traces: Annotated[list[Trace], msgspec.Meta(min_length=1)]


def check_qlog(log: object) -> set[str]:
    """Return the names of the events; raises `msgspec.ValidationError` or `AssertionError` for what is no such qlog."""
    names: set[str] = set()
    for trace in msgspec.convert(log, QlogFile).traces:
        times = [event.time for event in trace.events]
        assert all(before <= after for before, after in pairwise(times)), (
            "qvis wants events in the order of their times"
        )
        for event in trace.events:
            names.add(event.name)
            assert event.name in EVENTS, f"{event.name} is no event of the schema"
            msgspec.convert(event.data, EVENTS[event.name])
            header = event.data.get("header", {}) if isinstance(event.data, dict) else {}
            assert not {"packet_size", "payload_length"} & header.keys(), "sizes are in raw, not in the header"
    return names
