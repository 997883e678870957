"""The demonstration by telephone: a worker is killed in the middle of a sentence, and the call goes on at another one.

What plays Twilio's side asks again what to do with the call, as Twilio does. Ends with exit status 0 only if the order
is complete, and the control's, whose workers share no store, is not.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
import tomllib
import urllib.request
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from deploy.local.assertions import expected_order, named
from deploy.local.cluster import Cluster, ClusterOptions
from deploy.local.command import command
from deploy.local.scenario import RECORDING, Moment
from voice_gateway.errors import GatewayError
from voice_gateway.session.runtime.saving.ownership import call_session_id
from voice_gateway.store.implementations.sqlite import SqliteStore
from voice_gateway.telephony.vendors.twilio_simulator.loudspeaker import SILENCE
from voice_gateway.telephony.vendors.twilio_simulator.simulated_call import TwilioCall, TwilioSimulator
from voice_gateway.telephony.vendors.twilio_simulator.sound import read_telephone_wav

VICTIM: Final = 0
GREETING_S, ANSWER_S = 4.0, 6.0
"""How long the caller lets the agent speak."""
_BYTES_PER_S: Final = 8_000


@dataclass(slots=True)
class PhoneCallResult:
    """What came of one call; `order` is as the session store has it, `turns` as the last worker counted them."""

    moments: list[Moment] = field(default_factory=list)
    call: dict[str, Any] = field(default_factory=dict)
    order: list[dict[str, Any]] = field(default_factory=list)
    transcript: list[tuple[str, str]] = field(default_factory=list)
    worker: str | None = None
    turns: int = 0
    gap_ms: float | None = None
    """From the worker's death until the caller is joined to the next one."""
    failure: str | None = None


def script() -> tuple[bytes, float]:
    """What the caller says, in mu-law, and the instant in s at which the worker dies: in the second sentence."""
    instants = tomllib.loads(RECORDING.with_suffix(".toml").read_text())
    spoken = read_telephone_wav(RECORDING)
    first, second = (
        spoken[int(instants[name]["start"] * _BYTES_PER_S) : int(instants[name]["end"] * _BYTES_PER_S)]
        for name in ("first_sentence", "second_sentence")
    )
    before = _silence(GREETING_S) + first + _silence(ANSWER_S)
    return before + second + _silence(1.0), (len(before) + len(second) / 2) / _BYTES_PER_S


async def place_call(*, store: str | None = None, tick_s: float = 0.02) -> PhoneCallResult:
    """Call, kill the worker in mid-sentence, and return once the call is over, one way or the other.

    A `tick_s` of less than 0.02 is faster than real time.
    """
    auth_token = secrets.token_hex(16)
    async with Cluster(ClusterOptions(twilio_auth_token=auth_token, store=store)) as cluster:
        pages = [f"http://{address}/twiml" for address in cluster.addresses.worker_telephony]
        call = TwilioCall(pages[VICTIM], tuple(pages), f"CA{secrets.token_hex(16)}", auth_token=auth_token)
        result = PhoneCallResult()
        began = time.monotonic()
        died_at: list[float] = []

        def note(what: str, detail: str) -> None:
            result.moments.append(Moment(time.monotonic() - began, what, detail))
            if what == "stream" and died_at:
                result.gap_ms = (time.monotonic() - died_at[0]) * 1000

        async def kill() -> None:
            while simulator.said_ms < 1000 * killed_at_s:  # noqa: ASYNC110 - the call's own clock
                await asyncio.sleep(0.01)
            await cluster.kill_worker(VICTIM)
            died_at.append(time.monotonic())
            note("kill", f"SIGKILL ends worker-{VICTIM + 1} in the middle of the second sentence")

        simulator = TwilioSimulator(call, tick_s=tick_s, noted=note)
        speech, killed_at_s = script()
        killing = asyncio.create_task(kill())
        try:
            result.call = (await simulator.run(speech)).as_json()
            note("end", "the last answer is played and the caller hangs up")
        except GatewayError as error:
            result.failure = str(error)
            note("lost", result.failure)
        finally:
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
        await _look_up(cluster, call.call_sid, result, has_file=store is None)
    return result


async def _look_up(cluster: Cluster, call_sid: str, result: PhoneCallResult, *, has_file: bool) -> None:
    async with asyncio.timeout(30):
        while not (sessions := await _ended(cluster)):  # noqa: ASYNC110 - what was said last is being saved
            await asyncio.sleep(0.05)
    result.worker, result.turns = sessions[-1]["worker"], sessions[-1]["turn"]
    if not has_file:
        return
    store = SqliteStore(cluster.folder / "sessions.db", ttl_s=60.0, clock=time.time)
    try:
        record = await store.load(call_session_id(call_sid))
    finally:
        await store.close()
    if record is not None:
        result.order = list(record.state.get("items", []))
        result.transcript = [(line.role, line.text) for line in record.transcript]


async def _ended(cluster: Cluster) -> list[dict[str, Any]]:
    """The sessions that ended at the worker that is left."""
    pages = [f"http://{admin}/sessions" for i, admin in enumerate(cluster.addresses.worker_admin) if i != VICTIM]
    documents = [json.loads(await asyncio.to_thread(_get, page)) for page in pages]
    return [session for document in documents for session in document["ended"]]


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10.0) as answer:  # noqa: S310 - the cluster's own loopback address
        return bytes(answer.read())


def find_losses(result: PhoneCallResult) -> list[str]:
    """Return a sentence for each thing that was lost."""
    faults = [] if result.failure is None else [f"the call did not end well: {result.failure}"]
    if [named(item, like) for item, like in zip(result.order, expected_order(), strict=False)] != expected_order():
        faults.append(f"the order is not what was said: {result.order}")
    if len(result.order) != len(expected_order()):
        faults.append(f"the order has {len(result.order)} items, {len(expected_order())} were said")
    if result.worker == f"worker-{VICTIM + 1}" or result.call.get("streams") != 2:
        faults.append(f"{result.worker} ended the call, after {result.call.get('streams')} streams")
    if not result.call.get("is_answered"):
        faults.append("the caller's last words were not answered")
    return faults


def show(console: Console, title: str, result: PhoneCallResult) -> None:
    """Timeline, transcript and order on a terminal."""
    console.rule(f"[bold]{title}")
    table = Table(box=None, pad_edge=False, show_header=False)
    for moment in result.moments:
        table.add_row(f"[dim]{moment.at_s:6.2f} s", moment.what, moment.detail)
    console.print(table)
    if result.gap_ms is not None:
        console.print(f"The caller was without a worker for {result.gap_ms:.0f} ms.")
    for role, text in result.transcript:
        console.print(f"[bold]{'caller' if role == 'user' else 'agent':>6}[/]  {text}")
    for item in result.order:
        console.print(f"{item['quantity']}x {item['size']} {item['drink']}, {item['milk']} milk: {item['price']}")
    console.print(f"{result.worker} ended the call, and knows of {result.turns} turns of the caller.\n")


async def run(console: Console) -> dict[str, Any]:
    """Both calls; returns the document that `--json` prints."""
    result = await place_call()
    show(console, "A spoken order by telephone, a worker killed in mid-sentence", result)
    control = await place_call(store="memory://")
    show(console, "The control: the same call, workers that share no store", control)
    lost = find_losses(result)
    has_control_failed = control.turns < result.turns
    for fault in lost:
        console.print(f"[bold red]Lost:[/] {fault}")
    if not has_control_failed:
        console.print("[bold red]The control lost nothing: this run proves nothing.")
    if not lost and has_control_failed:
        console.print("[bold green]No transcribed turn was lost; the control call, without a shared store, lost one.")
    return {
        "ok": not lost and has_control_failed,
        "lost": lost,
        "scenario": asdict(result),
        "control": asdict(control),
    }


def _silence(seconds: float) -> bytes:
    return SILENCE * round(seconds * _BYTES_PER_S)


if __name__ == "__main__":
    command("demo-phone", __doc__, run)
