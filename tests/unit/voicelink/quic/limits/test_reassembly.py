from __future__ import annotations

import random
from itertools import pairwise

import pytest
from aioquic.quic.packet import QuicStreamFrame
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.quic.stream import FinalSizeError

from voicelink.quic.events import StreamDataReceived
from voicelink.quic.limits.reassembly import ReassemblyBudget, ReassemblyOverflowError, StreamReceiver


def frame(offset: int, data: bytes, *, is_last: bool = False) -> QuicStreamFrame:
    return QuicStreamFrame(offset=offset, data=data, fin=is_last)


def receiver(max_chunks: int = 1024) -> tuple[StreamReceiver, ReassemblyBudget]:
    budget = ReassemblyBudget(max_chunks)
    return StreamReceiver(0, budget), budget


@pytest.mark.parametrize("seed", range(40))
def test_overlapping_repeated_and_shuffled_frames_give_the_stream_back(seed: int) -> None:
    rng = random.Random(seed)
    stream = rng.randbytes(2_000)
    cuts = [0, *sorted(rng.sample(range(1, 2_000), 40)), 2_000]
    frames = [
        frame(max(0, start - rng.randrange(30)), b"", is_last=False) for start in cuts[:3]
    ]  # empty ones, which must not disturb
    for start, stop in pairwise(cuts):
        begin = max(0, start - rng.randrange(60))
        frames += [frame(begin, stream[begin:stop], is_last=stop == 2_000)] * rng.randint(1, 2)
    rng.shuffle(frames)
    part, budget = receiver()
    received = b""
    for each in frames:
        event = part.handle_frame(each)
        received += event.data if event else b""
        assert part.starting_offset() == len(received) == budget.delivered_bytes
    assert received == stream
    assert part.is_finished
    assert budget.chunks == 0


def test_data_in_order_is_passed_on_as_it_came() -> None:
    part, _ = receiver()
    assert part.handle_frame(frame(0, b"abc")) == StreamDataReceived(data=b"abc", end_stream=False, stream_id=0)
    assert part.handle_frame(frame(0, b"abc")) is None
    assert part.handle_frame(frame(1, b"bcd", is_last=True)) == StreamDataReceived(b"d", True, 0)


def test_an_empty_last_frame_ends_the_stream() -> None:
    part, _ = receiver()
    part.handle_frame(frame(0, b"abc"))
    assert part.handle_frame(frame(3, b"", is_last=True)) == StreamDataReceived(b"", True, 0)
    assert part.handle_frame(frame(3, b"", is_last=True)) is None


def test_gaps_cost_no_memory() -> None:
    part, budget = receiver()
    for power in range(10, 30):
        part.handle_frame(frame(1 << power, b"x"))
    assert budget.chunks == 20
    assert sum(map(len, part._pieces.values())) == 20


def test_more_gaps_than_the_budget_overflow() -> None:
    part, _ = receiver(max_chunks=3)
    for offset in (10, 20, 30):
        part.handle_frame(frame(offset, b"x"))
    part.handle_frame(frame(11, b"joins the piece before it"[:5]))
    with pytest.raises(ReassemblyOverflowError):
        part.handle_frame(frame(50, b"x"))


def test_all_streams_of_a_connection_share_the_budget() -> None:
    budget = ReassemblyBudget(max_chunks=2)
    StreamReceiver(0, budget).handle_frame(frame(10, b"x"))
    StreamReceiver(4, budget).handle_frame(frame(10, b"x"))
    with pytest.raises(ReassemblyOverflowError):
        StreamReceiver(8, budget).handle_frame(frame(10, b"x"))


def test_bytes_sent_backwards_are_not_copied_again_and_again() -> None:
    part, budget = receiver(max_chunks=100)
    for offset in range(10_000, 9_900, -1):
        part.handle_frame(frame(offset, b"x"))
    with pytest.raises(ReassemblyOverflowError):
        part.handle_frame(frame(9_900, b"x"))
    assert max(map(len, part._pieces.values())) == 1
    assert budget.chunks == 100


@pytest.mark.parametrize(
    "frames",
    [
        [frame(0, b"abc", is_last=True), frame(3, b"d")],
        [frame(0, b"abc", is_last=True), frame(0, b"ab", is_last=True)],
        [frame(5, b"x"), frame(0, b"abc", is_last=True)],
    ],
)
def test_a_final_size_cannot_change(frames: list[QuicStreamFrame]) -> None:
    part, _ = receiver()
    part.handle_frame(frames[0])
    with pytest.raises(FinalSizeError):
        part.handle_frame(frames[1])


def test_a_reset_drops_what_waits_and_counts_the_rest_as_delivered() -> None:
    part, budget = receiver()
    part.handle_frame(frame(0, b"abc"))
    part.handle_frame(frame(10, b"xyz"))
    event = part.handle_reset(final_size=100, error_code=7)
    assert event is not None
    assert event.error_code == 7
    assert (budget.chunks, budget.delivered_bytes) == (0, 100)
    assert part.handle_reset(final_size=100, error_code=7) is None
    assert part.handle_frame(frame(3, b"late")) is None


@pytest.mark.parametrize("final_size", [2, 99])
def test_a_reset_with_another_final_size_is_an_error(final_size: int) -> None:
    part, _ = receiver()
    part.handle_frame(frame(0, b"abc"))
    part.handle_frame(frame(3, b"", is_last=True))
    with pytest.raises(FinalSizeError):
        part.handle_reset(final_size=final_size)


def test_a_lost_stop_sending_is_sent_again() -> None:
    part, _ = receiver()
    part.stop(9)
    assert part.stop_pending
    assert part.get_stop_frame().error_code == 9
    assert not part.stop_pending
    part.on_stop_sending_delivery(QuicDeliveryState.LOST)
    assert part.stop_pending
