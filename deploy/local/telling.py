"""The demonstration on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from deploy.local.story import Story

MARKS = {"switch": "yellow", "kill": "yellow", "lost": "red", "end": "green"}


def show_story(console: Console, story: Story) -> None:
    """Timeline, gaps, transcript, order, and who held the call."""
    console.rule("[bold]A spoken order, a network switch, a killed load balancer")
    console.print(_timeline(story))
    console.print(_gaps(story))
    console.print(_transcript(story))
    console.print(_order(story))
    call, served = story.call, story.worker_session
    console.print(
        f"Held throughout by [bold]{served.get('worker', 'nobody')}[/]: {call['frames_sent']} frames sent, "
        f"{served.get('uplink', {}).get('frames', 0)} received, {call['frames_acked']} acked.\n"
    )


def show_control(console: Console, story: Story) -> None:
    """What the same call comes to without routable connection IDs."""
    console.rule("[bold]The control: the same call, connection IDs without a server ID")
    console.print(_timeline(story))
    heard = f"{story.call['frames_acked']} of {story.call['frames_sent']} frames were acked"
    outcome = "the session is [bold]lost[/], as it must be" if story.failure else "the session [bold]survived[/]"
    console.print(f"{outcome}: {heard}.\n")


def show_verdict(console: Console, lost: list[str], *, has_control_failed: bool) -> None:
    """The last lines."""
    if not lost and has_control_failed:
        console.print("[bold green]Nothing was lost, and the control shows that it could have been.")
    for fault in lost:
        console.print(f"[bold red]Lost:[/] {fault}")
    if not has_control_failed:
        console.print("[bold red]The control did not lose its session: this run proves nothing.")


def _timeline(story: Story) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", style="dim")
    table.add_column()
    table.add_column(overflow="fold")
    for moment in story.moments:
        style = MARKS.get(moment.what, "")
        table.add_row(f"{moment.at_s:6.2f} s", f"[{style}]{moment.what}[/]" if style else moment.what, moment.detail)
    return table


def _gaps(story: Story) -> Table:
    table = Table(title="Longest wait between two frames at the worker", title_justify="left", box=None)
    table.add_column("event")
    table.add_column("gap", justify="right")
    for name, gap_ms in (("network switch", story.switch_gap_ms), ("load balancer killed", story.restart_gap_ms)):
        table.add_row(name, "under the 16 longest" if gap_ms is None else f"{gap_ms:.0f} ms")
    table.add_row("[dim]when nothing happens", "[dim]20 ms")
    return table


def _transcript(story: Story) -> Table:
    table = Table(title="Transcript", title_justify="left", box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for line in story.call["transcript"]:
        table.add_row("caller" if line["role"] == "user" else "agent", line["text"])
    return table


def _order(story: Story) -> Table:
    state = story.call["state"]
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
