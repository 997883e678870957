"""The demonstration: an order survives a network switch and a killed load balancer, and a control does not.

Ends with exit status 0 only if nothing of the call was lost, and the control's was.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from dataclasses import asdict
from typing import Any

from rich.console import Console

from deploy.local.assertions import expected_order, find_losses
from deploy.local.cluster import Cluster, ClusterError, ClusterOptions
from deploy.local.command import command
from deploy.local.console_report import show_control, show_scenario, show_verdict
from deploy.local.scenario import ScenarioResult, ScenarioRunner, middle_of
from quiclb import route, unroutable_cid
from quiclb.net.address import parse_address
from quiclb.settings.loader import load_settings

SECOND_HOST = "127.0.0.3"


async def main_scenario(console: Console) -> tuple[ScenarioResult, list[str]]:
    """The call that must lose nothing; returns it with what it lost."""
    async with Cluster() as cluster:
        runner = ScenarioRunner(cluster)
        result = await runner.run(
            [
                (middle_of("taro"), functools.partial(ScenarioRunner.switch_network, address=SECOND_HOST)),
                (middle_of("second_sentence"), ScenarioRunner.restart_balancer),
            ]
        )
        lost = find_losses(result)
        show_scenario(console, result)
        if lost:
            console.print(f"The workers' logs are in {cluster.keep_logs()}")
    return result, lost


async def control_scenario(console: Console) -> ScenarioResult:
    """The same call and the same switch where connection IDs carry no server ID; it must lose its session."""
    async with Cluster(ClusterOptions(has_routable_cids=False)) as cluster:
        runner = ScenarioRunner(cluster)
        unlucky: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def look_for_address(each: ScenarioRunner) -> None:
            unlucky.set_result(await asyncio.to_thread(elsewhere, cluster, str(each.call.worker)))

        async def switch(each: ScenarioRunner) -> None:
            await each.switch_network(await unlucky)

        result = await runner.run([(0.0, look_for_address), (middle_of("taro"), switch)])
        show_control(console, result)
    return result


def elsewhere(cluster: Cluster, worker: str) -> str:
    """A free address of the caller's that the load balancer's hash sends to another worker.

    Which address a new network gives is luck; two workers lose every second caller. The control takes an unlucky one.
    """
    table = load_settings(cluster.balancer_config).build_table()
    vip = parse_address(cluster.addresses.listen)
    datagram = b"\x40" + unroutable_cid(17, rng=lambda count: bytes(count)) + bytes(32)
    for _ in range(256):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind((SECOND_HOST, 0))
            address = free.getsockname()
        decision = route(table, datagram, address, vip)
        backend = getattr(decision, "backend", None)
        if backend is not None and backend.name != worker:
            return f"{address[0]}:{address[1]}"
    raise ClusterError(f"no address of {SECOND_HOST} is hashed to another worker than {worker}")


async def run(console: Console) -> dict[str, Any]:
    """Both calls; returns the document that `--json` prints."""
    result, lost = await main_scenario(console)
    control = await control_scenario(console)
    has_control_failed = control.is_cut_off and control.call["frames_acked"] < control.call["frames_sent"]
    show_verdict(console, lost, has_control_failed=has_control_failed)
    return {
        "ok": not lost and has_control_failed,
        "lost": lost,
        "expected": expected_order(),
        "scenario": asdict(result),
        "control": asdict(control),
    }


if __name__ == "__main__":
    command("demo", __doc__, run)
