"""What the fast path needs of a connection's parts, beside what aioquic's own class keeps."""

from __future__ import annotations

from dataclasses import dataclass

from voicelink.quic.limits.recovery import BoundedRecovery
from voicelink.quic.limits.workload import Workload
from voicelink.quic.parts.ack_policy import AckRequest
from voicelink.quic.parts.flow_control import ReceiveWindows
from voicelink.quic.parts.paths import Paths
from voicelink.quic.parts.received_acks import ReceivedAcks
from voicelink.quic.parts.resumption import Resumption


@dataclass(frozen=True, slots=True)
class Parts:
    """Those of one connection, for as long as it lasts."""

    loss: BoundedRecovery
    workload: Workload
    windows: ReceiveWindows
    paths: Paths
    received_acks: ReceivedAcks
    ack_request: AckRequest
    resumption: Resumption
