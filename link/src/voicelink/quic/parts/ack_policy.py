"""When to acknowledge, what to ask of the peer in that, and which of its ACK frames to refuse. Sans-IO.

Half of the packets of a voice connection would be bare ACKs if each second packet had one (RFC 9000 section 13.2.2).
Both sides may ask each other for more or fewer of them (draft-ietf-quic-ack-frequency).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from aioquic._buffer import Buffer, BufferReadError
from aioquic.buffer import UINT_VAR_MAX_SIZE
from aioquic.quic.connection import QuicConnectionError, QuicReceiveContext
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.quic.recovery import QuicPacketRecovery, QuicPacketSpace

from voicelink.quic.handshake.transport_parameters import (
    MAX_ACK_DELAY,
    integer_parameters,
)

ACK_FREQUENCY: Final = 0xAF
IMMEDIATE_ACK: Final = 0x1F
MIN_ACK_DELAY: Final = 0xFF04DE1B
"""The transport parameter by which a peer says that it takes both frames: its shortest delay, in microseconds."""
MIN_ACK_DELAY_S: Final = 0.001
ACK_TIMER_SLACK_S: Final = 0.005
"""How late a timer may fire: the advertised `max_ack_delay` is so much more than the delay."""
COMMON_TIMES_S: Final = 0.01
"""Deadlines lie on multiples of this, at most so much earlier, where a delay is `MIN_COMMON_DELAY_S` or more:
connections whose ACKs are due at nearly the same time share a turn of the event loop."""
MIN_COMMON_DELAY_S: Final = 0.04
FREQUENCY_CAPACITY: Final = 2 + 4 * UINT_VAR_MAX_SIZE
MAX_ACK_FRAMES_PER_PACKET: Final = 8
"""One says all there is to say about a packet number space."""
ACKS_BEFORE_PING: Final = 24
"""After that many packets which the peer need not acknowledge, one asks it to (RFC 9000 section 13.2.4)."""
_DEFAULT_MAX_ACK_DELAY_MS: Final = 25
_MAX_ACK_DELAY_LIMIT_MS: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class AckFrequency:
    """Acknowledge after `packets` that ask for it, or `delay_s` after the first of them.

    `reordering` is how far a packet may lie behind the newest before it is reported missing at once; 0 is never.
    """

    packets: int
    delay_s: float
    reordering: int = 1

    @property
    def max_ack_delay_s(self) -> float:
        """The `max_ack_delay` that goes with it."""
        return self.delay_s + ACK_TIMER_SLACK_S


class AckPolicy:
    """Sets the time of the next ACK of the 1-RTT space, and counts ACK frames within a packet.

    aioquic sets `space.ack_at` for a packet that asks for an ACK, and clears it when it writes one; the time in it is
    decided here. `frequency` is this side's choice until the peer asks for another.
    """

    def __init__(self, frequency: AckFrequency) -> None:
        self.frequency = frequency
        self._advertised_s = frequency.max_ack_delay_s
        self._packets = 0
        self._reported = -1
        self._has_gap = False
        self._is_hurried = False
        self._is_asked_anew = False
        """Whether the peer has asked for another frequency since the last packet that asks for an ACK."""
        self._sequence = -1
        self._context: QuicReceiveContext | None = None
        self._frames = 0

    def on_datagram_received(
        self, space: QuicPacketSpace, former_largest: int, due_at: float | None, now: float
    ) -> None:
        """A datagram came while `former_largest` was the newest packet and an ACK was due at `due_at`.

        `space.ack_at` was cleared before it, so that a time there means: the datagram asks for an ACK. That is due at
        once after `packets` of them, for a new gap, and for a packet behind a newer one (RFC 9000 section 13.2.1); an
        old gap was reported and is no reason.
        """
        largest = space.largest_received_packet
        if largest > former_largest + 1:
            self._has_gap = True
        if space.ack_at is None:
            space.ack_at = due_at
            return
        if due_at is None:  # the first since the last ACK
            self._packets = 0
            self._reported = former_largest
            due_at = self._deadline(now)
        elif self._is_asked_anew:
            due_at = min(due_at, self._deadline(now))
        self._is_asked_anew = False
        self._packets += 1
        is_newest = largest > former_largest
        if self._packets >= self.frequency.packets or self._is_hurried or self._is_out_of_order(space, is_newest):
            due_at = min(due_at, now)
            self._is_hurried = False
        space.ack_at = due_at
        if is_newest:
            self._has_gap = False

    @staticmethod
    def on_sending(space: QuicPacketSpace, now: float) -> None:
        """Let an ACK that is due later ride in a packet that is sent now, where it costs less (section 13.2.1).

        One that is due goes before its time: aioquic holds an ACK that is due just now back for its pacing, and the
        timer would be called again and again until the clock goes on.
        """
        if space.ack_at is not None:
            space.ack_at = now if space.ack_at > now else math.nextafter(now, -math.inf)

    @staticmethod
    def wants_ping(acks_unanswered: int, space: QuicPacketSpace) -> bool:
        """Whether a PING must go with this ACK, so that the peer acknowledges it some day."""
        return acks_unanswered >= ACKS_BEFORE_PING and space.is_application_data

    def on_ack_frame(self, context: QuicReceiveContext, frame_type: int) -> None:
        """Count a frame of the packet that `context` describes; raises for one too many."""
        if context is not self._context:
            self._context, self._frames = context, 0
        self._frames += 1
        if self._frames > MAX_ACK_FRAMES_PER_PACKET:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION,
                frame_type,
                f"more than {MAX_ACK_FRAMES_PER_PACKET} ACK frames in a packet",
            )

    def hurry(self) -> None:
        """The datagram that is being read, or the next one that asks for it, is to be acknowledged at once."""
        self._is_hurried = True

    def on_frequency_frame(self, buf: Buffer, frame_type: int) -> None:
        """Read what follows the type of an ACK_FREQUENCY frame and obey it; one that is not the newest is ignored."""
        sequence, threshold, delay_us, reordering = (buf.pull_uint_var() for _ in range(4))
        if not MIN_ACK_DELAY_S * 1e6 <= delay_us < _MAX_ACK_DELAY_LIMIT_MS * 1000:
            raise QuicConnectionError(
                QuicErrorCode.PROTOCOL_VIOLATION, frame_type, f"a max_ack_delay of {delay_us} µs was requested"
            )
        if sequence > self._sequence:
            self._sequence = sequence
            delay_s = max(MIN_ACK_DELAY_S, (delay_us - ACK_TIMER_SLACK_S * 1e6) / 1e6)
            self.frequency = AckFrequency(threshold + 1, delay_s, reordering)
            self._is_asked_anew = True

    def transport_parameters(self) -> bytes:
        """Encode this side's `max_ack_delay` and `min_ack_delay`."""
        return integer_parameters(
            (MAX_ACK_DELAY, round(self._advertised_s * 1000)), (MIN_ACK_DELAY, round(MIN_ACK_DELAY_S * 1e6))
        )

    def _deadline(self, now: float) -> float:
        delay_s = self.frequency.delay_s
        deadline = now + delay_s
        return deadline if delay_s < MIN_COMMON_DELAY_S else deadline - deadline % COMMON_TIMES_S

    def _is_out_of_order(self, space: QuicPacketSpace, is_newest: bool) -> bool:
        reordering = self.frequency.reordering
        if reordering == 1:
            return self._has_gap or not is_newest
        return reordering > 1 and self._is_missing(space, reordering)

    def _is_missing(self, space: QuicPacketSpace, reordering: int) -> bool:
        """Whether a packet `reordering` behind the newest is missing that no ACK could report as lost (section 6.2)."""
        ranges: Any = space.ack_queue  # aioquic's stub says that it holds integers
        unreported = self._reported - reordering + 1
        for before, after in pairwise(ranges):
            if after.start > unreported:
                missing: int = max(before.stop, unreported)
                return space.largest_received_packet - missing >= reordering
        return False


class AckRequest:
    """What this side asks of the peer, where that takes ACK_FREQUENCY and IMMEDIATE_ACK."""

    def __init__(self, frequency: AckFrequency) -> None:
        self.is_supported_by_peer = False
        self.is_due = False
        """Whether an ACK_FREQUENCY frame is to be written."""
        self._usual = self._wanted = frequency
        self._sequence = 0
        self._min_delay_s = 0.0

    def on_transport_parameters(self, parameters: Mapping[int, bytes]) -> None:
        """Look for the peer's `min_ack_delay` among all of its; raises for one above its `max_ack_delay`."""
        if MIN_ACK_DELAY not in parameters:
            return
        max_ack_delay = parameters.get(MAX_ACK_DELAY)
        max_ms = _DEFAULT_MAX_ACK_DELAY_MS if max_ack_delay is None else Buffer(data=max_ack_delay).pull_uint_var()
        try:
            min_us = Buffer(data=parameters[MIN_ACK_DELAY]).pull_uint_var()
        except BufferReadError as error:
            raise QuicConnectionError(
                QuicErrorCode.TRANSPORT_PARAMETER_ERROR, QuicFrameType.CRYPTO, "min_ack_delay is no integer"
            ) from error
        if min_us > max_ms * 1000:
            raise QuicConnectionError(
                QuicErrorCode.TRANSPORT_PARAMETER_ERROR,
                QuicFrameType.CRYPTO,
                f"min_ack_delay is {min_us} µs, max_ack_delay {max_ms} ms",
            )
        self._min_delay_s = min_us / 1e6
        self.is_supported_by_peer = self.is_due = True

    def ask(self, *, is_every_packet: bool) -> None:
        """Ask for an ACK of every packet, or for the usual ones again."""
        wanted = AckFrequency(1, self._usual.delay_s) if is_every_packet else self._usual
        self.is_due |= self.is_supported_by_peer and wanted is not self._wanted
        self._wanted = wanted

    def next_frame(self) -> tuple[int, float]:
        """Return sequence number and requested `max_ack_delay` of the frame to write."""
        return self._sequence + 1, max(self._wanted.max_ack_delay_s, self._min_delay_s)

    def push_frame(self, buf: Buffer, loss: QuicPacketRecovery) -> None:
        """Write what follows the type of an ACK_FREQUENCY frame.

        Until the peer has it, probe timeouts count with the longer of both delays.
        """
        self._sequence, delay_s = self.next_frame()
        for value in (self._sequence, self._wanted.packets - 1, round(delay_s * 1e6), self._wanted.reordering):
            buf.push_uint_var(value)
        self.is_due = False
        loss.max_ack_delay = max(loss.max_ack_delay, delay_s)

    def on_delivery(self, delivery: QuicDeliveryState, sequence: int, delay_s: float, loss: QuicPacketRecovery) -> None:
        """A frame was acknowledged or lost; a newer one makes up for that."""
        if sequence != self._sequence:
            return
        if delivery is QuicDeliveryState.ACKED:
            loss.max_ack_delay = delay_s
        else:
            self.is_due = True
