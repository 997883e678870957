"""`voice-gateway up`: all workers of one machine, without a load balancer, and without a settings file if need be."""

from __future__ import annotations

import asyncio
import base64
import os
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from quiclb.daemon.processes.messages import LogChoice
from quiclb.logs.command_output import optional_output, print_json
from quiclb.logs.setup import LogFormat, configure_logging
from quiclb.net.address import format_address, is_wildcard
from voice_gateway.certificates.development import is_development_certificate
from voice_gateway.cli.options import (
    Agent,
    AllowRoot,
    InsecureDevelopment,
    LogFormatOption,
    LogLevel,
    OptionalConfigFile,
    Store,
    checked_level,
)
from voice_gateway.cli.programs import shell_command
from voice_gateway.endpoint.tls.identity import TlsIdentity
from voice_gateway.errors import ConfigurationError
from voice_gateway.settings.worker_sections import MOST_WORKERS
from voice_gateway.supervisor.machine import Machine
from voice_gateway.supervisor.plan import DEFAULT_ADMIN, DEFAULT_LISTEN, DEFAULT_PAGE, BoxPlan, make_plan
from voice_gateway.supervisor.sockets import ADMIN, DATAGRAMS
from voice_gateway.supervisor.supervisor import WorkerSupervisor, take_handover
from voice_gateway.worker.listeners import page_files
from voice_gateway.worker.preflight import Insistence, opening_faults
from voicelink.wire import VOICE_PATH


def up(
    config: OptionalConfigFile = None,
    workers: Annotated[int | None, typer.Option(min=1, max=MOST_WORKERS, help="Default: one for each core.")] = None,
    listen: Annotated[
        str | None, typer.Option(help=f"Where clients come, over UDP; without a file {DEFAULT_LISTEN}.")
    ] = None,
    page: Annotated[
        str | None, typer.Option(help=f"Where browsers get the page that calls it; without a file {DEFAULT_PAGE}.")
    ] = None,
    agent: Agent = None,
    store: Store = None,
    admin: Annotated[
        str | None,
        typer.Option(
            help=f"Where to serve health and metrics; workers on the ports behind; without a file {DEFAULT_ADMIN}."
        ),
    ] = None,
    state: Annotated[Path | None, typer.Option(help="The folder for sessions and a development certificate.")] = None,
    log_format: LogFormatOption = LogFormat.AUTO,
    log_level: LogLevel = "info",
    insecure_development: InsecureDevelopment = False,
    allow_root: AllowRoot = False,
    is_check: Annotated[bool, typer.Option("--check", help="Say what is wrong, ports left out, and exit.")] = False,
    is_json: Annotated[bool, typer.Option("--json", help="Print where it listens as JSON, once it does.")] = False,
) -> None:
    """Hold voice sessions on all cores of this machine until SIGTERM, which lets calls end first.

    The kernel steers each datagram to the worker of its call. A worker that ends is started again, and its calls go on
    at the others. SIGHUP reads the settings again and replaces the workers one by one; SIGUSR2 does so with the program
    that is installed by then. No call is lost on the way.
    """
    level = checked_level(log_level)
    configure_logging(log_format, level)
    environ = dict(os.environ)
    handover = take_handover(environ)
    flags = {
        "worker.listen": listen,
        "agent.name": agent,
        "session.store": store,
        "admin.listen": admin,
        "page.listen": page,
    }
    insist = Insistence(insecure=insecure_development, root=allow_root)
    machine = Machine.of_process()

    def make() -> BoxPlan:
        return make_plan(config, environ, flags, machine, workers=workers, state=state, insist=insist)

    plan = make()
    if handover is not None:
        plan = replace(plan, workers=len(handover.sockets.datagrams) - 1)
    supervisor = WorkerSupervisor(
        plan,
        make,
        machine,
        environ,
        log_choice=LogChoice(log_format=log_format, level=level),
        on_start=_print_json if is_json else _print_start,
    )
    if is_check:
        _raise_what_does_not_open(supervisor)
        typer.echo(f"{config or 'no file'}: good, {plan.workers} workers")
        return
    status = asyncio.run(supervisor.run(handover))
    if status:  # a worker could not start: say why in a sentence, too
        _raise_what_does_not_open(supervisor)
    raise typer.Exit(status)


def _raise_what_does_not_open(supervisor: WorkerSupervisor) -> None:
    if faults := asyncio.run(opening_faults(supervisor.settings, has_ports=False)):
        raise ConfigurationError("\n".join(faults))


def _print_json(supervisor: WorkerSupervisor) -> None:
    with optional_output():  # callers are served whether or not this can be printed
        print_json(_facts(supervisor))


def _facts(supervisor: WorkerSupervisor) -> dict[str, Any]:
    shown = {key: format_address(address) for key, address in supervisor.sockets.addresses.items()}
    return {
        "direct": shown[DATAGRAMS],
        "page": shown.get("page.listen"),
        "websocket": shown.get("websocket.listen"),
        "telephony": shown.get("telephony.listen"),
        "admin": shown.get(ADMIN),
        "certificate": str(supervisor.settings.tls.certificate),
        "workers": supervisor.workers(),
    }


def _print_start(supervisor: WorkerSupervisor) -> None:
    facts, settings = _facts(supervisor), supervisor.settings
    address = supervisor.sockets.datagrams.address
    url = f"https://localhost:{address[1]}" if is_wildcard(address) else f"https://{format_address(address)}"
    files = settings.tls
    is_development = is_development_certificate(files.certificate)
    ca = f" --ca {shlex.quote(str(files.certificate.with_name('ca.pem')))}" if is_development else ""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    with optional_output():
        if facts["page"] is not None:
            scheme = "https" if settings.page is not None and settings.page.tls else "http"
            about = "speak to it in a browser" if page_files() else "has no page: `make web` builds it, with Node.js"
            console.print(f"{scheme}://{facts['page']}/   {about}")
        console.print(f"{url}{VOICE_PATH}   {supervisor.plan.workers} workers, agent {settings.agent.name}")
        console.print(f"  {shell_command('voice-client')} call --microphone --url {url}{VOICE_PATH}{ca}")
        if facts["admin"] is not None:
            is_tls = settings.admin is not None and settings.admin.tls
            console.print(
                f"  {shell_command('voice-gateway')} sessions --admin {'https' if is_tls else 'http'}://{facts['admin']}"
            )
        if is_development:
            digest = TlsIdentity.load(files.certificate, files.key, now=time.time()).fingerprint_sha256
            console.print(f"development certificate, SHA-256 {base64.b64encode(digest).decode()} (base64)")
        console.print("Ctrl-C ends it, once calls had time to end")
