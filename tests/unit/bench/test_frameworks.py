"""What the callers and echoes of frameworks share: their sound, and the interpreter that they need."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.peers.frameworks import environment
from bench.peers.frameworks.sound import is_sound, tone
from bench.peers.ways import available, gateway, livekit, moq, smallwebrtc
from bench.setup_time.__main__ import WAYS
from voicelink.audio.codecs.opus import OpusDecoder, OpusEncoder


def test_frames_of_the_tone_join_without_a_step() -> None:
    samples = np.frombuffer(tone(48_000, 0.01) * 3, "<i2").astype(float)
    assert len(samples) == 1_440
    assert np.abs(np.diff(samples)).max() <= 8_000 * 2 * np.pi * 400 / 48_000 + 1


@pytest.mark.parametrize(
    ("pcm", "expected"),
    [
        (b"", False),
        (bytes(640), False),
        (np.full(320, 400, "<i2").tobytes(), False),
        (np.full(320, -32_768, "<i2").tobytes(), True),
        (tone(16_000), True),
        (bytes(638) + tone(16_000)[8:10], True),
    ],
)
def test_sound_is_told_from_silence(pcm: bytes, *, expected: bool) -> None:
    assert is_sound(pcm) is expected
    assert is_sound(memoryview(pcm).cast("h")) is expected


def test_first_frame_of_the_tone_is_sound_after_opus() -> None:
    encoder, decoder = OpusEncoder(48_000), OpusDecoder(48_000)
    first = decoder.decode(encoder.encode(tone(48_000)))
    assert isinstance(first, bytes)
    assert is_sound(first)


def test_interpreter_that_is_not_there_is_missing_with_the_command_that_makes_it(tmp_path: Path) -> None:
    why = environment.missing("moq", tmp_path / ".venv-agents" / "bin" / "python")
    assert why == ".venv-agents is missing: make .venv-agents/.league"


def test_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(environment.PACKAGES, "moq", ("numpy", "no-such-package"))
    why = environment.missing("moq", Path(sys.executable))
    assert why is not None
    assert "has no no-such-package: make " in why


def test_livekit_needs_its_server_beside_its_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(environment.PACKAGES, "livekit", ("numpy",))
    server = tmp_path / "livekit-server"
    assert environment.missing("livekit", Path(sys.executable), server) is not None
    server.touch()
    assert environment.missing("livekit", Path(sys.executable), server) is None


def test_installed_packages_have_their_versions() -> None:
    assert environment.installed(("numpy", "no-such-package"), Path(sys.executable)) == {"numpy": np.__version__}


def test_ways_that_cannot_run_are_left_out_with_their_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "missing", lambda kind: None if kind == "moq" else f"no {kind}")
    ours, quic, room = gateway("gateway", 1), moq("MoQ", 2, 5), livekit("LiveKit", 3, 5)
    assert available([ours, quic, room]) == ([ours, quic], {"LiveKit": "no livekit"})


def test_ways_of_frameworks_say_what_was_tuned_and_have_fewer_calls() -> None:
    ways = [
        moq("MoQ", 1, 5),
        moq("MoQ, WebTransport", 2, 5, has_http=True),
        smallwebrtc("RTC", 3, 5),
        livekit("Room", 4, 5),
    ]
    assert all(way.is_framework and way.most_calls == 5 for way in ways)
    assert not gateway("gateway", 1).is_framework
    assert [way.script for way in ways[:2]] == ["setup-quic", "setup-webtransport"]
    json.dumps([way.tuned for way in ways])


def test_no_two_ways_of_the_benchmark_share_a_port_or_a_name() -> None:
    """A server of MoQ has a port for each call."""
    ports = [way.port + number for way in WAYS for number in range(int(way.server[0]) if way.kind == "moq" else 1)]
    own = [port for port in ports if ports.count(port) > 1 and port != 7_001]  # two scripts of one server
    assert not own
    assert len({way.name for way in WAYS}) == len(WAYS)
