"""`make bench-capacity`: what a worker carries; AGAINST=REV: beside another revision; QUICK=1: in five minutes."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import msgspec

from bench.capacity import generator
from bench.capacity.report import Findings, markdown
from bench.capacity.runs import Lab, alternate, memory, pair, profile, say, survey
from bench.capacity.servers.peers import prepare
from bench.capacity.servers.worker import ROOT, checkout, worker
from bench.capacity.traffic import CONVERSATION, SELDOM
from bench.figures import save
from bench.lb.machine import describe_machine, raise_file_limit

CACHE = ROOT / ".capacity"
"""What is built once: the generator, the peers, the trees of other revisions."""
FRAME_ECHO = "bench.capacity.servers.frame_echo:FrameEcho"
PROFILED_SESSIONS = 24


def main() -> int:
    arguments = _arguments()
    raise_file_limit()
    CACHE.mkdir(exist_ok=True)
    say("building the generator; the first time it takes a minute or two")
    program = generator.build(CACHE / "native")
    with tempfile.TemporaryDirectory(prefix="capacity-") as name:
        folder = Path(name)
        lab = Lab.of_this_machine(program, folder, is_quick=arguments.quick)
        if arguments.rounds:
            lab = replace(lab, rounds=arguments.rounds)
        found = _measure(lab, folder, arguments)
    document = {"capacity_of": describe_machine(), "findings": msgspec.to_builtins(found, str_keys=True)}
    save("capacity", document, markdown(found))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", metavar="REV", help="compare this tree with that revision, in alternating windows")
    parser.add_argument("--only-against", action="store_true", help="nothing but the comparison of the two revisions")
    parser.add_argument("--quick", action="store_true", help="short windows: enough to see that it works")
    parser.add_argument("--sessions", type=int, default=16, help="sessions at a time, but for ramps and memory")
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
    say("profiles")
    found.profiles = {each.name: profile(lab, each, conversation, PROFILED_SESSIONS) for each in kinds}
    if arguments.only_against:
        return found
    say("memory")
    found.memory = memory(lab, worker(ROOT, "memory", folder), seldom)
    say("downloading and building the peers; the first time it takes a minute or two")
    peers, found.missing = prepare(CACHE / "peers")
    own = [worker(ROOT, "ours, echo agent", folder), worker(ROOT, "ours, no codec, no agent", folder, FRAME_ECHO)]
    found.surveys = [
        survey(lab, each, conversation, sessions, has_ramp=not arguments.quick or each is own[0])
        for each in [*own, *peers]
    ]
    ramp = found.surveys[0].ramp
    two = (worker(ROOT, "one of two", folder), worker(ROOT, "two of two", folder))
    found.pair = pair(lab, two, conversation, sessions, float(ramp.carried if ramp else sessions))
    return found


if __name__ == "__main__":
    sys.exit(main())
