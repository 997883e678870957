"""`make bench-capacity`: what a worker carries; AGAINST=REV: beside another revision; QUICK=1: in six minutes."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from bench.capacity import generator
from bench.capacity.generator import GeneratorError
from bench.capacity.lab import Lab, say
from bench.capacity.report import Findings, markdown
from bench.capacity.runs.alternation import alternate, alternate_handshakes
from bench.capacity.runs.floor import floor
from bench.capacity.runs.memory import memory
from bench.capacity.runs.pair import pair
from bench.capacity.runs.profiling import profile
from bench.capacity.runs.survey import survey
from bench.capacity.servers.bare_udp import bare_udp
from bench.capacity.servers.peers import prepare
from bench.capacity.servers.server import ServerError
from bench.capacity.servers.worker import ROOT, checkout, worker
from bench.capacity.traffic import CONVERSATION, SELDOM
from bench.figures import save
from bench.lb.machine import describe_machine, raise_file_limit, raise_priority

CACHE = ROOT / ".capacity"
"""What is built once: the generator, the peers, the trees of other revisions."""
FRAME_ECHO = "bench.capacity.servers.frame_echo:FrameEcho"
PROFILED_SESSIONS = 24


def main() -> int:
    arguments = _arguments()
    raise_file_limit()
    raise_priority(is_realtime=False)
    CACHE.mkdir(exist_ok=True)
    say("building the generator; the first time it takes a minute or two")
    program = generator.build(CACHE / "native")
    with tempfile.TemporaryDirectory(prefix="capacity-") as name:
        folder = Path(name)
        lab = Lab.of_this_machine(program, folder, is_quick=arguments.quick)
        if arguments.rounds:
            lab = replace(lab, rounds=arguments.rounds)
        found = _measure(lab, folder, arguments)
    document = {"capacity_of": describe_machine(), "findings": msgspec.to_builtins(found, str_keys=True, enc_hook=str)}
    save("capacity", document, markdown(found))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", metavar="REV", help="compare this tree with that revision, in alternating windows")
    parser.add_argument("--only-against", action="store_true", help="nothing but the comparison of the two revisions")
    parser.add_argument("--quick", action="store_true", help="short windows: enough to see that it works")
    parser.add_argument("--sessions", type=int, default=16, help="sessions at a time, but for ramps and memory")
    parser.add_argument("--peer", action="append", help="measure only peers whose name has this in it; may be repeated")
    parser.add_argument("--rounds", type=int, help="windows of each revision in the comparison")
    return parser.parse_args()


def _measure(lab: Lab, folder: Path, arguments: argparse.Namespace) -> Findings:
    conversation, seldom = CONVERSATION.write(folder / "conversation"), SELDOM.write(folder / "seldom")
    kinds, sessions = [worker(ROOT, "this tree", folder)], arguments.sessions
    if arguments.against:
        say(f"setting up {arguments.against}; the first time it takes a minute or two")
        revision, tree = checkout(arguments.against, CACHE / "revisions")
        kinds.append(worker(tree, revision, folder))
    windows = alternate(lab, kinds, conversation, sessions)
    found = Findings(sessions, [each.name for each in kinds], windows)
    if arguments.against:
        found.handshakes = alternate_handshakes(lab, kinds, conversation)
    say("profiles")
    for each in kinds:
        with _or_missing(found, f"the profile of {each.name}"):
            found.profiles[each.name] = profile(lab, each, conversation, PROFILED_SESSIONS)
    if arguments.only_against:
        return found
    say("memory")
    with _or_missing(found, "memory"):
        found.memory = memory(lab, worker(ROOT, "memory", folder), seldom)
    say("downloading and building the peers; the first time it takes a minute or two")
    peers, missing = prepare(CACHE / "peers", arguments.peer)
    found.missing.update(missing)
    own = [worker(ROOT, "ours, echo agent", folder), worker(ROOT, "ours, no codec, no agent", folder, FRAME_ECHO)]
    with _or_missing(found, "the floor, and what is above it"):
        found.floor = floor(lab, bare_udp(CACHE / "peers"), conversation, sessions)
    for each in [*own, *peers]:
        with _or_missing(found, each.name):
            has_ramp = each is own[0] or not arguments.quick
            found.surveys.append(survey(lab, each, conversation, sessions, has_ramp=has_ramp))
    if found.floor:
        with _or_missing(found, "the floor after the other servers"):
            found.floor = found.floor.and_later(floor(lab, found.floor.server, conversation, sessions))
    two = (worker(ROOT, "one of two", folder), worker(ROOT, "two of two", folder))
    expected = found.ramp.carried if found.ramp else sessions
    with _or_missing(found, "two workers"):
        found.pair = pair(lab, two, conversation, sessions, float(max(expected, sessions)))
    return found


@contextmanager
def _or_missing(found: Findings, name: str) -> Iterator[None]:
    """Go on without what cannot be measured, and keep the reason for the report."""
    try:
        yield
    except (GeneratorError, ServerError) as error:
        say(f"{name}: {error}")
        found.missing[name] = str(error)


if __name__ == "__main__":
    sys.exit(main())
