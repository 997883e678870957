"""The TOML files of a cluster on one machine, as an operator would write them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
    """Shared by load balancer and workers: the QUIC-LB key; the keys of tokens, tickets and stateless reset."""

    quic_lb_key: str
    retry_key: str
    ticket_key: str
    reset_key: str


def worker_name(index: int) -> str:
    return f"worker-{index + 1}"


def server_id(index: int) -> str:
    return f"{index + 1:0{2 * SERVER_ID_BYTES}x}"


def balancer_toml(addresses: Addresses, secrets: Secrets, processes: int = 1) -> str:
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
{_quic_lb(secrets)}{backends}"""


def worker_toml(
    index: int,
    addresses: Addresses,
    secrets: Secrets,
    *,
    certificates: Path,
    agent: str,
    token: str | None,
    access_key: Path | None = None,
    has_routable_cids: bool,
    store: str,
    drain_timeout_s: float,
    twilio_auth_token: str | None = None,
) -> str:
    # a caller whose network is gone has to move even if the server forbids it
    may_migrate = "" if has_routable_cids else "unroutable_clients_may_migrate = true\n"
    ways = [f'token = "{token}"'] if token else []
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
{_quic_lb(secrets)}
[quic]
routable_cids = {str(has_routable_cids).lower()}
{may_migrate}retry_key = "{secrets.retry_key}"
ticket_key = "{secrets.ticket_key}"
reset_key = "{secrets.reset_key}"

[agent]
name = "{agent}"
{access}
[session]
store = "{store}"
drain_timeout_s = {drain_timeout_s}

[admin]
listen = "{addresses.worker_admin[index]}"
{_telephony(index, addresses, twilio_auth_token)}{_page(addresses)}"""


def _telephony(index: int, addresses: Addresses, auth_token: str | None) -> str:
    if auth_token is None:
        return ""
    return f"""
[telephony]
listen = "{addresses.worker_telephony[index]}"
public_url = "http://{addresses.worker_telephony[index]}"
tls = false
auth_token = "{auth_token}"
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


def _quic_lb(secrets: Secrets) -> str:
    return f"""
[[config]]
id = 0
server_id_length = {SERVER_ID_BYTES}
nonce_length = {NONCE_BYTES}
key = "{secrets.quic_lb_key}"
"""
