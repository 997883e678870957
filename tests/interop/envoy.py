"""Envoy as an HTTP/3 server whose connection IDs its QUIC-LB generator makes."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from quiclb import QuicLbConfig
from testbed.ports import free_port

HOST = "127.0.0.1"
UNUSED_KEY = bytes(16)
"""Envoy wants a key even where it does not encrypt."""

_READY_S = 60.0
_TYPES = "type.googleapis.com/envoy.extensions"


def find_envoy() -> str | None:
    """The program of the wheel in this environment, or the machine's own."""
    return shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")


@contextlib.contextmanager
def serving(config: QuicLbConfig, server_id: bytes, folder: Path) -> Iterator[int]:
    """Run Envoy for as long as the block lasts and give its port; raises `RuntimeError` with its log if it fails."""
    program = find_envoy()
    assert program is not None
    certificate, key = write_certificate(folder)
    port = free_port(HOST, kind=socket.SOCK_DGRAM)
    path = folder / "envoy.json"
    path.write_text(json.dumps(bootstrap(config, server_id, port, certificate, key)))
    log = folder / "envoy.log"
    command = [program, "-c", str(path), "--concurrency", "1", "--use-dynamic-base-id", "--disable-hot-restart"]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            deadline = time.monotonic() + _READY_S
            while "starting main dispatch loop" not in log.read_text():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"envoy does not start: {log.read_text()[-2000:]}")
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()


def bootstrap(config: QuicLbConfig, server_id: bytes, port: int, certificate: Path, key: Path) -> dict[str, Any]:
    """Envoy's whole configuration: one HTTP/3 listener that answers everything itself, and the generator's secret."""
    generator = {
        "@type": f"{_TYPES}.quic.connection_id_generator.quic_lb.v3.Config",
        "unencrypted_mode": config.key is None,
        "server_id": {"inline_bytes": _base64(server_id)},
        "expected_server_id_length": config.server_id_length,
        "nonce_length_bytes": config.nonce_length,
        "encryption_parameters": {"name": "quic-lb"},
    }
    tls = {"filename": str(certificate)}, {"filename": str(key)}
    transport = {
        "@type": f"{_TYPES}.transport_sockets.quic.v3.QuicDownstreamTransport",
        "downstream_tls_context": {
            "common_tls_context": {"tls_certificates": [{"certificate_chain": tls[0], "private_key": tls[1]}]}
        },
    }
    listener = {
        "name": "h3",
        "address": {"socket_address": {"address": HOST, "port_value": port, "protocol": "UDP"}},
        "udp_listener_config": {
            "quic_options": {
                "connection_id_generator_config": {
                    "name": "envoy.quic.connection_id_generator.quic_lb",
                    "typed_config": generator,
                }
            }
        },
        "filter_chains": [
            {
                "transport_socket": {"name": "envoy.transport_sockets.quic", "typed_config": transport},
                "filters": [{"name": "http", "typed_config": _http()}],
            }
        ],
    }
    secrets = {
        "encryption_key": {"inline_bytes": _base64(config.key or UNUSED_KEY)},
        "configuration_version": {"inline_bytes": _base64(bytes((config.config_id,)))},
    }
    secret = {"name": "quic-lb", "generic_secret": {"secrets": secrets}}
    return {"static_resources": {"listeners": [listener], "secrets": [secret]}}


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A throw-away P-256 certificate and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    certificate_path, key_path = folder / "certificate.pem", folder / "key.pem"
    certificate_path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pkcs8 = serialization.PrivateFormat.PKCS8
    key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
    return certificate_path, key_path


def _http() -> dict[str, Any]:
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    return {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "codec_type": "HTTP3",
        "stat_prefix": "h3",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [answer]}]},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"}},
        ],
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
