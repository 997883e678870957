"""The TOML files of a cluster on one machine, as an operator would write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from quiclb.net.address import parse_address

SERVER_ID_BYTES = 4
NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where one cluster's sockets are bound, each as `host:port`."""

    listen: str
    inner: str
    balancer_metrics: str
    worker_inner: tuple[str, ...]
    worker_admin: tuple[str, ...]
    worker_telephony: tuple[str, ...] = ()
    page: str | None = None
    page_calls: str | None = None
    demo: str | None = None


@dataclass(frozen=True, slots=True)
class Secrets:
    """Shared by load balancer and workers: the QUIC-LB key; the keys of tokens, tickets and stateless reset.

    `token` is an access token for all callers, `twilio` Twilio's. Settings files name the files that `write` makes.
    """

    quic_lb_key: str
    retry_key: str
    ticket_key: str
    reset_key: str
    token: str | None = None
    twilio: str | None = None

    def write(self, folder: Path) -> None:
        """Write each secret to a file of its owner's alone."""
        for name, secret in asdict(self).items():
            if secret is not None:
                file = folder / f"{name}.secret"
                file.touch(mode=0o600)
                file.write_text(secret)


@dataclass(frozen=True, slots=True)
class AgentTable:
    """Who answers: `[agent]` and its settings, or the hosts that have the agent."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()

    def toml(self) -> str:
        if self.hosts:
            return f"[agent]\nhosts = {json.dumps(self.hosts)}\n"
        # text, numbers, truth values and lists of them are written in TOML as in JSON
        lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in self.settings.items()]
        return "\n".join(
            (f"[agent]\nname = {json.dumps(self.name)}", *(["[agent.settings]", *lines] if lines else []), "")
        )


def worker_name(index: int) -> str:
    return f"worker-{index + 1}"


def server_id(index: int) -> str:
    return f"{index + 1:0{2 * SERVER_ID_BYTES}x}"


def balancer_toml(addresses: Addresses, processes: int = 1) -> str:
    backends = "".join(
        f"""
[[backend]]
name = "{worker_name(index)}"
address = "{inner}"
server_ids = {{ 0 = "{server_id(index)}" }}
"""
        for index, inner in enumerate(addresses.worker_inner)
    )
    return f"""[forwarder]
listen = "{addresses.listen}"
inner = "{addresses.inner}"
metrics = "{addresses.balancer_metrics}"
allow_loopback_clients = true
processes = {processes}
{_QUIC_LB}{backends}"""


def worker_toml(
    index: int,
    addresses: Addresses,
    secrets: Secrets,
    *,
    certificates: Path,
    agent: AgentTable,
    access_key: Path | None = None,
    has_routable_cids: bool,
    store: str,
    drain_timeout_s: float,
) -> str:
    # a caller whose network is gone has to move even if the server forbids it
    may_migrate = "" if has_routable_cids else "unroutable_clients_may_migrate = true\n"
    ways = ['token_file = "token.secret"'] if secrets.token else []
    ways += [f'key_files = ["{access_key}"]'] if access_key else []
    access = "\n".join(("\n[access]", *ways, "")) if ways else ""
    return f"""[worker]
name = "{worker_name(index)}"
server_id = "{server_id(index)}"
inner = "{addresses.worker_inner[index]}"
trusted_proxies = ["{parse_address(addresses.inner)[0]}"]

[tls]
certificate = "{certificates / "leaf.pem"}"
key = "{certificates / "leaf.key"}"
{_QUIC_LB}
[quic]
routable_cids = {str(has_routable_cids).lower()}
{may_migrate}retry_key_file = "retry_key.secret"
ticket_key_file = "ticket_key.secret"
reset_key_file = "reset_key.secret"

{agent.toml()}{access}
[session]
store = "{store}"
drain_timeout_s = {drain_timeout_s}

[admin]
listen = "{addresses.worker_admin[index]}"
{_telephony(index, addresses) if secrets.twilio else ""}{_page(addresses)}"""


def _telephony(index: int, addresses: Addresses) -> str:
    return f"""
[telephony]
listen = "{addresses.worker_telephony[index]}"
public_url = "http://{addresses.worker_telephony[index]}"
tls = false
auth_token_file = "twilio.secret"
"""


def _page(addresses: Addresses) -> str:
    if addresses.page is None:
        return ""
    demo = "" if addresses.demo is None else f'demo_url = "http://{addresses.demo}"\n'
    # the workers share one port, so that the page outlives each of them; loopback needs no TLS for the microphone
    return f"""
[page]
listen = "{addresses.page}"
shared_port = true
tls = false
voice_url = "https://{addresses.page_calls or addresses.listen}/v1/voice"
development = true
{demo}"""


_QUIC_LB = f"""
[[config]]
id = 0
server_id_length = {SERVER_ID_BYTES}
nonce_length = {NONCE_BYTES}
key_file = "quic_lb_key.secret"
"""
