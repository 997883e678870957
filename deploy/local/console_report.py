"""The demonstration on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from deploy.local.scenario import ScenarioResult

MARKS = {"switch": "yellow", "kill": "yellow", "lost": "red", "end": "green"}


def show_scenario(console: Console, result: ScenarioResult) -> None:
    """Timeline, gaps, transcript, order, and who held the call."""
    console.rule("[bold]A spoken order, a network switch, a killed load balancer")
    console.print(_timeline(result))
    console.print(_gaps(result))
    console.print(_transcript(result))
    console.print(_order(result))
    call, session = result.call, result.worker_session
    console.print(
        f"One worker for the whole call: [bold]{session.get('worker', 'none')}[/]: {call['frames_sent']} frames sent, "
        f"{session.get('uplink', {}).get('frames', 0)} received, {call['frames_acked']} acked.\n"
    )


def show_control(console: Console, result: ScenarioResult) -> None:
    """What the same call comes to without routable connection IDs."""
    console.rule("[bold]The control: the same call, connection IDs without a server ID")
    console.print(_timeline(result))
    acked = f"{result.call['frames_acked']} of {result.call['frames_sent']} frames were acked"
    outcome = "the session is [bold]lost[/], as expected" if result.failure else "the session [bold]survived[/]"
    console.print(f"{outcome}: {acked}.\n")


def show_verdict(console: Console, lost: list[str], *, has_control_failed: bool) -> None:
    """The last lines."""
    if not lost and has_control_failed:
        console.print("[bold green]No frame was lost; the control call lost its session, as expected.")
    for fault in lost:
        console.print(f"[bold red]Lost:[/] {fault}")
    if not has_control_failed:
        console.print("[bold red]The control call kept its session: this run proves nothing.")


def _timeline(result: ScenarioResult) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", style="dim")
    table.add_column()
    table.add_column(overflow="fold")
    for moment in result.moments:
        style = MARKS.get(moment.what, "")
        table.add_row(f"{moment.at_s:6.2f} s", f"[{style}]{moment.what}[/]" if style else moment.what, moment.detail)
    return table


def _gaps(result: ScenarioResult) -> Table:
    table = Table(title="Longest wait between two frames at the worker", title_justify="left", box=None)
    table.add_column("event")
    table.add_column("gap", justify="right")
    for name, gap_ms in (("network switch", result.switch_gap_ms), ("load balancer killed", result.restart_gap_ms)):
        table.add_row(name, "under the 16 longest" if gap_ms is None else f"{gap_ms:.0f} ms")
    table.add_row("[dim]when nothing happens", "[dim]20 ms")
    return table


def _transcript(result: ScenarioResult) -> Table:
    table = Table(title="Transcript", title_justify="left", box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for line in result.call["transcript"]:
        table.add_row("caller" if line["role"] == "user" else "agent", line["text"])
    return table


def _order(result: ScenarioResult) -> Table:
    state = result.call["state"]
    table = Table(title="Order", title_justify="left")
    for heading in ("", "drink", "size", "milk", "sugar", "ice", "toppings"):
        table.add_column(heading)
    table.add_column("price", justify="right")
    for item in state.get("items", []):
        table.add_row(
            f"{item['quantity']}x",
            item["drink"],
            item["size"],
            item["milk"],
            f"{item['sugar_percent']} %" if item["sugar_percent"] is not None else "",
            item["ice"],
            ", ".join(item["toppings"]),
            item["price"],
        )
    table.add_section()
    table.add_row("", "total", "", "", "", "", "", f"{state.get('total', '0')} {state.get('currency', '')}")
    return table
