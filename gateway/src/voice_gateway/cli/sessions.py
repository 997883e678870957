"""Commands for operators: the sessions of running workers, once or all the time, and the qlog of one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from quiclb.logs.command_output import print_json
from voice_gateway.cli.admin_client import DEFAULT_ADMIN, AdminClient
from voice_gateway.cli.options import JsonOutput, write_out
from voice_gateway.errors import ConfigurationError

_COLUMNS: Final = 104
_HEADINGS: Final = ("session", "worker", "state", "peer", "age s", "turns", "frames", "gap ms", "late ms", "moves")

Admins = Annotated[
    list[str] | None,
    typer.Option(
        "--admin", envvar="VOICE_GATEWAY_ADMIN", help="A worker's admin address, as http://127.0.0.1:9090; repeatable."
    ),
]
Token = Annotated[
    str | None,
    typer.Option(envvar="VOICE_GATEWAY_ADMIN_TOKEN", help="The admin token; better --token-file.", hidden=True),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(envvar="VOICE_GATEWAY_ADMIN_TOKEN_FILE", help="A file with the admin token (admin.token_file)."),
]


def sessions(
    admin: Admins = None,
    has_ended: Annotated[bool, typer.Option("--ended", help="Show the last sessions that ended too.")] = False,
    is_json: JsonOutput = False,
) -> None:
    """Show the sessions of running workers: figures and addresses, never words."""
    documents = [worker.sessions() for client in _clients(admin) for worker in client.workers()]
    if is_json:
        print_json({"workers": documents})
        return
    found = [
        session for document in documents for session in document["sessions"] + (document["ended"] if has_ended else [])
    ]
    _wide_console().print(_table(found))


def top(
    admin: Admins = None,
    interval: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks.")] = 1.0,
    is_once: Annotated[bool, typer.Option("--once", help="Print once and leave.")] = False,
) -> None:
    """Watch the sessions of running workers, those with the latest audio first. Ctrl-C ends it."""
    clients = _clients(admin)
    if is_once:
        console = _wide_console()
        console.print(overview(_looks(clients), console.height))
        return
    console = Console(markup=False)
    with suppress(KeyboardInterrupt), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(overview(_looks(clients), console.height), refresh=True)
            time.sleep(interval)


def qlog(
    session: Annotated[str, typer.Argument(help="The session's ID, or its beginning.")],
    admin: Admins = None,
    token_file: TokenFile = None,
    token: Token = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=300, help="How long to record.")] = 10.0,
    out: Annotated[Path | None, typer.Option(help="The file; SESSION.qlog unless given.")] = None,
) -> None:
    """Record the QUIC connection of a session, and write a qlog that https://qvis.quictools.info shows.

    It holds addresses and connection IDs, and neither payload nor tokens.
    """
    found = [
        (worker, each["id"])
        for client in _clients(admin, token_file, token)
        for worker in client.workers()
        for each in worker.sessions()["sessions"]
        if each["id"].startswith(session)
    ]
    if len(found) != 1:
        which = f"{len(found)} sessions begin" if found else "no session begins"
        raise ConfigurationError(f"{which} with {session!r}: give the ID that `voice-gateway sessions --json` shows")
    [(client, session_id)] = found
    document = client.qlog(session_id, seconds)
    file = out or Path(f"{session_id}.qlog")
    write_out(file, document)
    events = len(json.loads(document)["traces"][0]["events"])
    Console(markup=False, highlight=False).print(f"{file}: {events} events", soft_wrap=True)


def overview(looks: Sequence[dict[str, Any] | str], most_lines: int) -> Group:
    """Return a line for each worker, or for why it does not answer, and their sessions, the latest audio first."""
    lines: list[Text | Table] = []
    found: list[dict[str, Any]] = []
    for look in looks:
        if isinstance(look, str):
            lines.append(Text(look, style="red"))
            continue
        counts = {state: sum(each["state"] == state for each in look["sessions"]) for state in ("active", "detached")}
        shown = "  ".join(f"{count} {state}" for state, count in counts.items())
        draining = "  draining" if look["draining"] else ""
        lines.append(Text(f"{look['worker']}: {len(look['sessions'])} sessions  {shown}{draining}"))
        found += look["sessions"]
    found.sort(key=lambda each: -(each["uplink"]["lateness_p99_ms"] or 0))
    most = max(1, most_lines - len(lines) - 6)
    lines.append(_table(found[:most]))
    if len(found) > most:
        lines.append(Text(f"and {len(found) - most} more"))
    return Group(*lines)


def _looks(clients: Sequence[AdminClient]) -> list[dict[str, Any] | str]:
    """What each worker shows, or why it does not answer."""
    looks: list[dict[str, Any] | str] = []
    for client in clients:
        try:
            workers = client.workers()
        except ConfigurationError as error:
            looks.append(str(error))
            continue
        looks += [_look(worker) for worker in workers]
    return looks


def _look(worker: AdminClient) -> dict[str, Any] | str:
    try:
        return worker.sessions()
    except ConfigurationError as error:
        return str(error)


def _clients(admin: list[str] | None, token_file: Path | None = None, token: str | None = None) -> list[AdminClient]:
    return [AdminClient.of(each, token_file, token) for each in admin or [DEFAULT_ADMIN]]


def _table(found: Sequence[dict[str, Any]]) -> Table:
    caption = "gap: the largest; late: the 99th percentile"
    table = Table(*_HEADINGS, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption=caption)
    for session in found:
        table.add_row(*_cells(session))
    return table


def _wide_console() -> Console:
    """One that shows the whole table also where output is no terminal, or a narrow one."""
    return Console(width=max(Console().width, _COLUMNS), markup=False)


def _cells(session: dict[str, Any]) -> tuple[str, ...]:
    uplink = session["uplink"]
    gaps, late_ms = uplink["largest_gaps"], uplink["lateness_p99_ms"]
    return (
        session["id"][:8],
        session["worker"],
        session["state"],
        session["peer"],
        f"{session['age_s']:.0f}",
        str(session["turn"]),
        str(uplink["frames"]),
        f"{gaps[0]['gap_ms']:.0f}" if gaps else "-",
        "-" if late_ms is None else str(late_ms),
        str(len(session["migrations"])),
    )


COMMANDS: Final[tuple[Callable[..., None], ...]] = (sessions, top, qlog)
