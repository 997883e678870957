"""Keep the demonstration's cluster up for a person, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from rich.console import Console

from deploy.local.cluster import CERTIFICATES, ROOT, Cluster, ClusterError, ClusterOptions
from deploy.local.incidents import Incidents
from gateway.errors import BindError
from gateway.page import page_files


async def serve(options: ClusterOptions, console: Console) -> None:
    """Run the cluster and say how to reach it."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with Cluster(options) as cluster, Incidents(cluster, options.demo_port or 0):
        ca = cluster.ca_file.relative_to(ROOT)
        console.print(f"[bold]{cluster.page_url}[/]   {_about_page()}")
        console.print(f"[bold]{cluster.url}[/]   one load balancer, {options.workers} workers; Ctrl-C ends them\n")
        console.print(f"  voice-client call --microphone --url {cluster.url} --ca {ca}")
        console.print(f"  voice-client call deploy/local/caller.wav --url {cluster.url} --ca {ca}\n")
        console.print(f"load balancer's metrics  http://{cluster.addresses.forwarder_metrics}/metrics")
        for admin in cluster.addresses.worker_admin:
            console.print(f"a worker's sessions      http://{admin}/sessions")
        console.print(f"certificate's SHA-256    {(CERTIFICATES / 'fingerprint.txt').read_text().split()[0]}")
        console.print(f"logs                     {cluster.folder}")
        await stopped.wait()


def _about_page() -> str:
    return "speak to it in a browser" if page_files() else "has no page: `make web` builds it, with Node.js"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make serve", description=__doc__)
    parser.add_argument("--port", type=int, default=4433, help="UDP port of the load balancer")
    parser.add_argument("--page-port", type=int, default=8080, help="TCP port of the page")
    parser.add_argument("--demo-port", type=int, default=8081, help="TCP port for the page's incidents")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    options = ClusterOptions(
        port=arguments.port,
        workers=arguments.workers,
        has_page=True,
        page_port=arguments.page_port,
        demo_port=arguments.demo_port,
    )
    try:
        asyncio.run(serve(options, Console(highlight=False)))
    except (ClusterError, BindError) as error:
        sys.exit(f"serve: {error}")


if __name__ == "__main__":
    main()
