"""The command of the order agent: print its menu."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from quiclb.logs.command_output import print_json, run_command
from voice_gateway.agents.order.menu import Milk, Size, Topping, default_menu, read_menu
from voice_gateway.errors import GatewayError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def menu(
    file: Annotated[
        Path | None, typer.Option("--file", help="A menu of your own; without it, the built-in one.")
    ] = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
) -> None:
    """Print what the order agent sells."""
    shown = default_menu() if file is None else read_menu(file)
    if is_json:
        print_json(msgspec.to_builtins(shown))
        return
    console = Console(markup=False)
    table = Table("drink", "also said as", "price", title=shown.shop)
    for drink in shown.drink:
        table.add_row(drink.name, ", ".join(drink.also), shown.money(drink.price))
    console.print(table)
    extras: dict[str, tuple[Size | Milk | Topping, ...]]
    extras = {"size": shown.size, "milk": shown.milk, "topping": shown.topping}
    for kind, entries in extras.items():
        offered = [f"{each.name} (+{shown.money(each.extra)})" if each.extra else each.name for each in entries]
        if offered:
            console.print(f"{kind}: {', '.join(offered)}", highlight=False)
    console.print(f"sugar: {', '.join(f'{each.percent} %' for each in shown.sugar)}", highlight=False)
    console.print(f"ice: {', '.join(each.name for each in shown.ice)}", highlight=False)


def main() -> None:
    """Run the command line; what is wrong with the input is one sentence on standard error and exit status 1."""
    run_command("voice_gateway.agents.order", app, (GatewayError,))
