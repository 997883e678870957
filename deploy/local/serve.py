"""Keep the demonstration's cluster up for a person, until Ctrl-C.

Browsers take a development certificate for 14 days at most: it is renewed in time, and the workers take the new one.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from rich.console import Console

from deploy.local.cluster import CERTIFICATES, ROOT, Cluster, ClusterError, ClusterOptions
from deploy.local.incidents import Incidents
from voice_gateway.certificates.development import ensure_certificate
from voice_gateway.cli.programs import shell_command
from voice_gateway.errors import BindError
from voice_gateway.worker.listeners import page_files


async def serve(options: ClusterOptions, console: Console) -> None:
    """Run the cluster and say how to reach it."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with (
        Cluster(options) as cluster,
        Incidents(cluster, options.demo_port or 0),
        _renewed(CERTIFICATES, console),
    ):
        ca, client = cluster.ca_file.relative_to(ROOT), shell_command("voice-client")
        console.print(f"[bold]{cluster.page_url}[/]   {_about_page()}")
        console.print(f"[bold]{cluster.url}[/]   one load balancer, {options.workers} workers; Ctrl-C ends them\n")
        if options.has_signed_tokens:
            token = f"{shell_command('voice-gateway')} token --subject me --key-file {cluster.access_key}"
            console.print(f"  export VOICE_TOKEN=$({token})")
        console.print(f"  {client} call --microphone --url {cluster.url} --ca {ca}")
        console.print(f"  {client} call deploy/local/caller.wav --url {cluster.url} --ca {ca}\n")
        console.print(f"load balancer's metrics  http://{cluster.addresses.balancer_metrics}/metrics")
        for admin in cluster.addresses.worker_admin:
            console.print(f"a worker's sessions      http://{admin}/sessions")
        console.print(f"certificate's SHA-256    {(CERTIFICATES / 'fingerprint.txt').read_text().split()[0]}")
        console.print(f"logs                     {cluster.folder}")
        await stopped.wait()


@asynccontextmanager
async def _renewed(folder: Path, console: Console, look_every_s: float = 3600.0) -> AsyncIterator[None]:
    """Look after the development certificate meanwhile."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(look_every_s)
            made = await asyncio.to_thread(ensure_certificate, folder, now=time.time())
            if made.is_new:
                console.print(f"certificate renewed; its SHA-256 is now {made.sha256.hex()}")

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing


def _about_page() -> str:
    return "speak to it in a browser" if page_files() else "has no page: `make web` builds it, with Node.js"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make serve", description=__doc__)
    parser.add_argument("--port", type=int, default=4433, help="UDP port of the load balancer")
    parser.add_argument("--page-port", type=int, default=8080, help="TCP port of the page")
    parser.add_argument("--demo-port", type=int, default=8081, help="TCP port for the page's incidents")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tokens", action="store_true", help="callers need access tokens")
    arguments = parser.parse_args()
    options = ClusterOptions(
        port=arguments.port,
        workers=arguments.workers,
        has_signed_tokens=arguments.tokens,
        has_page=True,
        page_port=arguments.page_port,
        demo_port=arguments.demo_port,
    )
    try:
        asyncio.run(serve(options, Console(highlight=False, soft_wrap=True)))
    except (ClusterError, BindError) as error:
        sys.exit(f"serve: {error}")


if __name__ == "__main__":
    main()
