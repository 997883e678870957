"""The Opus binding: rates, DTX, and malformed packets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from random import Random

import numpy as np
import pytest

from tests.unit.decoded import pcm_of
from tests.unit.voicelink.audio.signals import level, tone
from voicelink.audio.codecs.opus import (
    ANSWERS,
    CALLERS_VOICE,
    MAX_DTX_BYTES,
    RATES_HZ,
    OpusDecoder,
    OpusEncoder,
    OpusProfile,
)
from voicelink.errors import CodecError
from voicelink.wire import Malformed


@pytest.mark.parametrize("encoder_rate_hz", RATES_HZ)
@pytest.mark.parametrize("decoder_rate_hz", RATES_HZ)
def test_a_tone_comes_back_at_the_wanted_rate(encoder_rate_hz: int, decoder_rate_hz: int) -> None:
    encoder, decoder = OpusEncoder(encoder_rate_hz), OpusDecoder(decoder_rate_hz)
    pcm = tone(440, encoder_rate_hz, 0.4)
    frames = [
        decoder.decode(encoder.encode(pcm[at : at + encoder.frame_bytes]))
        for at in range(0, len(pcm), encoder.frame_bytes)
    ]
    assert all(isinstance(frame, bytes) and len(frame) == decoder_rate_hz // 25 for frame in frames)
    assert level(pcm_of(frames[10])) == pytest.approx(7_071, rel=0.15)


def test_silence_is_not_worth_sending() -> None:
    encoder = OpusEncoder(16_000)
    lengths = [len(encoder.encode(bytes(640))) for _ in range(50)]
    assert sum(length <= MAX_DTX_BYTES for length in lengths) > 30
    always = OpusEncoder(16_000, OpusProfile(has_dtx=False))
    assert all(len(always.encode(bytes(640))) > MAX_DTX_BYTES for _ in range(50))


@pytest.mark.parametrize("length", [0, 638, 642, 1_280])
def test_a_wrong_frame_length_is_the_callers_mistake(length: int) -> None:
    with pytest.raises(ValueError, match="640 bytes"):
        OpusEncoder(16_000).encode(bytes(length))


def test_a_wrong_rate_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="44100"):
        OpusEncoder(44_100)
    with pytest.raises(ValueError, match="12000"):
        OpusDecoder(12_000)


def test_no_packet_makes_the_decoder_raise() -> None:
    decoder, rng = OpusDecoder(16_000), Random(5)
    made = [decoder.decode(rng.randbytes(rng.randrange(0, 200))) for _ in range(500)]
    assert {type(one) for one in made} == {bytes, Malformed}
    assert all(len(one) <= 16_000 * 2 * 120 // 1_000 for one in made if isinstance(one, bytes))


def test_a_packet_cut_short_is_named() -> None:
    assert isinstance(OpusDecoder(16_000).decode(b""), Malformed)
    fault = OpusDecoder(16_000).decode(b"\xff")
    assert isinstance(fault, Malformed)
    assert "1 bytes" in fault.reason


def test_concealment_has_the_length_asked_for() -> None:
    decoder = OpusDecoder(16_000)
    assert len(decoder.conceal(1_000)) == 2_000
    assert len(decoder.conceal(10)) == 20


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_concealment_of_a_long_gap_costs_120_ms_of_decoding_and_is_silence_then(
    rate_hz: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6716 section 3.2.5: no packet is longer than 120 ms."""
    encoder, decoder = OpusEncoder(rate_hz, OpusProfile(has_dtx=False)), OpusDecoder(rate_hz)
    speech = tone(200, rate_hz, 0.2)
    for start in range(0, len(speech), encoder.frame_bytes):
        decoder.decode(encoder.encode(speech[start : start + encoder.frame_bytes]))
    decode, lost = decoder._decode, []
    monkeypatch.setattr(decoder, "_decode", lambda packet, most: lost.append(most) or decode(packet, most))
    concealed = decoder.conceal(2 * rate_hz)
    assert sum(lost) == rate_hz * 120 // 1000
    assert len(concealed) == 4 * rate_hz
    assert level(concealed[: rate_hz // 50 * 2]) > 100
    assert not any(concealed[rate_hz * 120 // 1000 * 2 :])


def test_concealment_of_several_frames_is_that_of_one_after_the_other() -> None:
    encoder, at_once, stepwise = OpusEncoder(16_000), OpusDecoder(16_000), OpusDecoder(16_000)
    pcm = tone(440, 16_000, 0.4)
    for at in range(0, len(pcm), encoder.frame_bytes):
        packet = encoder.encode(pcm[at : at + encoder.frame_bytes])
        assert at_once.decode(packet) == stepwise.decode(packet)
    assert at_once.conceal(4 * 320) == b"".join(stepwise.conceal(320) for _ in range(4))
    assert at_once.conceal(0) == b""


def test_a_higher_complexity_makes_other_packets() -> None:
    pcm = tone(440, 16_000, 0.02)
    assert OpusEncoder(16_000, OpusProfile(complexity=0)).encode(pcm) != OpusEncoder(16_000).encode(pcm)
    with pytest.raises(CodecError, match="opus refuses"):
        OpusEncoder(16_000, OpusProfile(complexity=11))


@pytest.mark.parametrize(("profile", "is_celt"), [(CALLERS_VOICE, False), (ANSWERS, True)])
def test_an_answer_is_encoded_by_celt_alone_and_a_callers_voice_is_not(profile: OpusProfile, is_celt: bool) -> None:
    encoder = OpusEncoder(24_000, profile)
    pcm = tone(440, 24_000, 0.2)
    packets = [encoder.encode(pcm[at : at + 960]) for at in range(0, len(pcm), 960)]
    configurations = {packet[0] >> 3 for packet in packets}  # RFC 6716 section 3.1
    assert {each >= 16 for each in configurations} == {is_celt}


def test_the_comfort_noise_of_dtx_fills_the_gap_behind_it_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, decoder = OpusEncoder(16_000), OpusDecoder(16_000)
    noise = np.random.default_rng(1).normal(0, 20, 16_000 * 2).astype("<i2").tobytes()
    packets = [encoder.encode(noise[at : at + 640]) for at in range(0, len(noise), 640)]
    (at,) = [at for at, packet in enumerate(packets) if len(packet) <= MAX_DTX_BYTES][:1]
    for packet in packets[:at]:
        decoder.decode(packet)
    last = decoder.decode(packets[at])
    assert isinstance(last, bytes)
    monkeypatch.setattr("voicelink.audio.codecs.opus.decoder.libopus_decode", None)
    gap = decoder.conceal(1_000)
    assert len(gap) == 2_000
    assert gap[:640] == np.frombuffer(last, "<i2")[::-1].tobytes()
    assert gap[640:1_280] == last


def test_a_gap_behind_a_voice_is_concealed_by_the_codec() -> None:
    encoder, decoder = OpusEncoder(16_000), OpusDecoder(16_000)
    first = decoder.decode(encoder.encode(tone(440, 16_000, 0.02)))
    assert isinstance(first, bytes)
    assert decoder.conceal(320) != np.frombuffer(first, "<i2")[::-1].tobytes()


def test_codecs_of_several_threads_do_not_meet() -> None:
    """Their calls share memory within a thread alone."""

    def coded(seed: int) -> list[bytes]:
        encoder, decoder = OpusEncoder(16_000), OpusDecoder(16_000)
        pcm = np.random.default_rng(seed).normal(0, 3_000, 320).astype("<i2").tobytes()
        return [pcm_of(decoder.decode(encoder.encode(pcm))) for _ in range(200)]

    seeds = range(4)
    with ThreadPoolExecutor(len(seeds)) as threads:
        together = list(threads.map(coded, seeds))
    assert together == [coded(seed) for seed in seeds]


# of Chromium, in the middle of a word, to a peer that reports 5 % of losses
_WITH_FEC = (
    (
        "48c5677ce8f24c8623fe1c1eacfb11904a30d5cbca426d1eb1e40f359c52a37a7495dcba26639e24de25d2eee9ed6f08"
        "9100c5e5c4098cf6314ff08260169c02012d9681f19a51c719fe4be940"
    ),
    (
        "48c5770e8410dfa0b13b1b5006d229775738356badcaad6ca4938a04d36552d1a9c569a2480fdb53d0066e31ab7d80eb"
        "1c706a2b683bf49a5f1aaa485b0093ac710e98d1772faca618"
    ),
    (
        "48c4e912d6c7e42773500a7f21a6da3eabba8f8b047a54063b2060cd6a09dc7a57598949f367d4705e8b755c0dd84efc"
        "d91923fa8d6584236be4c11a37bb9a060d0d"
    ),
    (
        "48c36a888592e9adcec63c9122e5a1c05fce6318d734f29e0237a0d865570e72e14c1a9ed1d32c7eab5f976112bd37d0"
        "8bfeea6cf7c5fd392620c286ad0d0d6207d9773fee2fd87fff136fd36e6c64619218"
    ),
    (
        "48ed785d3b4b10d3cd6b97511dc9af9d33b993a4d009f584452dfa0f97c707e5b32509bae9152650e3f4ce217c3acf34"
        "cf4e7a3ee3a2f815469a4b786e1e01bba2e5ec9c42e77c9784502895f96aa868226072e0c0"
    ),
    (
        "48edfc3d949a7465b6d8a2b4362eec7c05c23da54b44118eaabf85c3befa4154e7a0f02e9e5e605d378a186431ce283c"
        "372150e9d474ca33fe4197bd25da57a03f6dc85ab3604978f5f96f2bd608619eb27374e7ac351d2cf4"
    ),
)


def test_a_lost_packet_comes_from_the_fec_of_the_next_one_nearer_to_itself_than_concealed() -> None:
    """RFC 6716 section 2.1.7."""
    packets = [bytes.fromhex(each) for each in _WITH_FEC]

    def decoded(count: int) -> tuple[OpusDecoder, bytes]:
        decoder = OpusDecoder(16_000)
        pcm = [decoder.decode(each) for each in packets[:count]][-1]
        assert isinstance(pcm, bytes)
        return decoder, pcm

    def error(pcm: bytes) -> float:
        difference = np.frombuffer(pcm, "<i2").astype(float) - np.frombuffer(decoded(5)[1], "<i2")
        return float(np.mean(difference**2))

    recovered, concealed = decoded(4)[0].recover(packets[5]), decoded(4)[0].conceal(320)
    assert len(recovered) == 640
    assert error(recovered) < error(concealed) / 100


def test_a_lost_packet_is_concealed_where_the_next_one_has_no_fec() -> None:
    encoder, decoder, other = OpusEncoder(16_000), OpusDecoder(16_000), OpusDecoder(16_000)
    pcm = tone(440, 16_000, 0.4)
    packets = [encoder.encode(pcm[at : at + 640]) for at in range(0, len(pcm), 640)]
    for packet in packets[:10]:
        assert decoder.decode(packet) == other.decode(packet)
    assert decoder.recover(packets[11]) == other.conceal(320)
    assert decoder.decode(packets[11]) == other.decode(packets[11])
