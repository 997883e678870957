"""Clients that are known at every worker, whichever the load balancer picks."""

from __future__ import annotations

from pathlib import Path

from tests.integration.support.workers import InProcessCluster, cluster
from voice_client import CredentialStore

MANY = 40
"""Calls after which both workers of two have surely had one: 2 ** -39."""


async def call_until_both_workers_answered(site: InProcessCluster, credentials: CredentialStore) -> list[str]:
    """Place calls one after the other, each from a port of its own; return the worker of each."""
    workers: list[str] = []
    while len(set(workers)) < 2:
        assert len(workers) < MANY
        async with site.client(credentials=credentials, resume_timeout_s=0) as call:
            workers.append(call.worker or "")
            await call.ping()  # what the server hands out has come before the answer
    return workers


async def test_a_tls_session_of_one_worker_is_resumed_at_the_other(tmp_path: Path) -> None:
    async with cluster(tmp_path) as site:
        workers = await call_until_both_workers_answered(site, CredentialStore())
        assert sum(site.counted("handshakes_resumed")) == sum(site.counted("early_data_accepted")) == len(workers) - 1
        assert site.counted("handshakes_resumed")[int(workers[-1][-1])] == 1


async def test_workers_with_other_keys_do_a_full_handshake(tmp_path: Path) -> None:
    """The control: without the shared key only calls that come back to the same worker are resumed."""
    async with cluster(tmp_path, quic=({}, {"ticket_key": "44" * 32})) as site:
        workers = await call_until_both_workers_answered(site, CredentialStore())
        assert site.counted("handshakes_resumed")[int(workers[-1][-1])] == 0
        assert sum(site.counted("handshakes_resumed")) == len(workers) - 2


async def test_a_token_of_one_worker_spares_a_retry_at_the_other(tmp_path: Path) -> None:
    always = {"retry_after_half_open": 0}
    async with cluster(tmp_path, quic=(always, always)) as site:
        workers = await call_until_both_workers_answered(site, CredentialStore())
        assert sum(site.counted("retries_sent")) == 1
        assert sum(site.counted("new_tokens_accepted")) == len(workers) - 1


async def test_a_token_is_worth_nothing_at_another_address_or_under_another_key(tmp_path: Path) -> None:
    always = {"retry_after_half_open": 0}
    async with cluster(tmp_path, quic=(always,)) as site:
        credentials = CredentialStore()
        for local_address in ("127.0.0.2", "127.0.0.3"):
            async with site.client(credentials=credentials, local_address=local_address, resume_timeout_s=0) as call:
                await call.ping()  # what the server hands out has come before the answer
        assert site.counted("retries_sent") == [2]
        assert site.counted("new_tokens_accepted") == [0]


async def test_credentials_in_a_file_serve_the_next_run(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    async with cluster(tmp_path, quic=({"retry_after_half_open": 0},)) as site:
        for _ in range(2):
            async with site.client(credentials=CredentialStore(file), resume_timeout_s=0) as call:
                await call.ping()  # what the server hands out has come before the answer
        assert site.counted("handshakes_resumed") == site.counted("new_tokens_accepted") == [1]
    assert file.stat().st_mode & 0o077 == 0
