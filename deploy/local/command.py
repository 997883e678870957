"""A demonstration as a command: result on the console or as JSON, and the exit status."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from rich.console import Console

from deploy.local.cluster import ClusterError


def command(name: str, description: str | None, run: Callable[[Console], Awaitable[dict[str, Any]]]) -> NoReturn:
    """Run a demonstration, print its document with --json, and exit with status 0 if its key `ok` is true."""
    parser = argparse.ArgumentParser(prog=f"make {name}", description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout, the timeline on stderr")
    arguments = parser.parse_args()
    console = Console(stderr=arguments.json, highlight=False)

    async def document_of_run() -> dict[str, Any]:
        return await run(console)

    try:
        document = asyncio.run(document_of_run())
    except ClusterError as error:
        sys.exit(f"{name}: {error}")
    if arguments.json:
        print(json.dumps(document, indent=2))
    sys.exit(0 if document["ok"] else 1)
