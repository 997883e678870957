"""The TOML files of a cluster on one machine, as an operator would write them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quiclb.address import parse_address

SERVER_ID_OCTETS = 4
NONCE_OCTETS = 12


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where one cluster's sockets are bound, each as `host:port`."""

    listen: str
    inner: str
    forwarder_metrics: str
    worker_inner: tuple[str, ...]
    worker_admin: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Secrets:
    """What forwarder and workers share: the QUIC-LB key, and the keys of Retry and stateless reset."""

    quic_lb_key: str
    retry_key: str
    reset_key: str


def worker_name(index: int) -> str:
    return f"worker-{index + 1}"


def server_id(index: int) -> str:
    return f"{index + 1:0{2 * SERVER_ID_OCTETS}x}"


def forwarder_toml(addresses: Addresses, secrets: Secrets, processes: int = 1) -> str:
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
metrics = "{addresses.forwarder_metrics}"
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
    has_routable_cids: bool,
    store: str,
    drain_timeout_s: float,
) -> str:
    # a caller whose network is gone has to move, whatever the server says
    may_migrate = "" if has_routable_cids else "unroutable_clients_may_migrate = true\n"
    access = f'\n[access]\ntoken = "{token}"\n' if token else ""
    return f"""[worker]
name = "{worker_name(index)}"
server_id = "{server_id(index)}"
inner = "{addresses.worker_inner[index]}"
forwarders = ["{parse_address(addresses.inner)[0]}"]

[tls]
certificate = "{certificates / "leaf.pem"}"
key = "{certificates / "leaf.key"}"
{_quic_lb(secrets)}
[quic]
routable_cids = {str(has_routable_cids).lower()}
{may_migrate}retry_key = "{secrets.retry_key}"
reset_key = "{secrets.reset_key}"

[agent]
name = "{agent}"
{access}
[session]
store = "{store}"
drain_timeout_s = {drain_timeout_s}

[admin]
listen = "{addresses.worker_admin[index]}"
"""


def _quic_lb(secrets: Secrets) -> str:
    return f"""
[[config]]
id = 0
server_id_length = {SERVER_ID_OCTETS}
nonce_length = {NONCE_OCTETS}
key = "{secrets.quic_lb_key}"
"""
