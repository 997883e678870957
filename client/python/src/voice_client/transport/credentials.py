"""Credentials that servers gave a client: TLS session tickets, and address validation tokens (RFC 9000 8.1.3)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from voice_client.errors import InvalidSetting
from voice_client.transport.target import Target
from voice_client.transport.trust import Trust
from voicelink.quic import CipherSuite, SessionTicket

_MOST_KEPT: Final = 4
_VERSION: Final = 1


class CredentialStore:
    """Keeps them from one connection to the next, and in `file`, where given, from one run to the next.

    Give one to several `VoiceClient`s, so that they share what servers gave. The file lets its reader pose
    as its owner towards a server that asks for nothing else, so it is readable by its owner alone. One that cannot be
    read counts as empty; one that cannot be written is left as it is.
    """

    def __init__(self, file: str | Path | None = None) -> None:
        self._file = None if file is None else Path(file)
        self._accounts: dict[str, Account] = {}
        if self._file is not None:
            if not self._file.parent.is_dir():
                raise InvalidSetting(f"there is no directory for the credentials file {self._file}")
            self._accounts = {name: Account(self._write, *given) for name, given in _read(self._file).items()}

    def of(self, target: Target, trust: Trust) -> Account:
        """What is kept of one server."""
        # a resumed session shows no certificate: it is as good as the trust under which the first one was accepted
        basis = (trust.fingerprint or b"") + b"|" + (trust.authorities_pem or b"")
        name = f"{target.authority} {hashlib.sha256(basis).hexdigest()[:16]}"
        return self._accounts.setdefault(name, Account(self._write))

    def _write(self) -> None:
        if self._file is None:
            return
        servers = {name: account.as_json() for name, account in self._accounts.items() if account.has_any}
        with contextlib.suppress(OSError):
            _replace(self._file, json.dumps({"version": _VERSION, "servers": servers}, indent=1))


class Account:
    """TLS session tickets and address tokens of one server, newest last.

    Each is used once, so that observers cannot link connections.
    """

    def __init__(
        self, changed: Callable[[], None], tickets: Sequence[SessionTicket] = (), tokens: Sequence[bytes] = ()
    ) -> None:
        self._changed = changed
        self._tickets = list(tickets)
        self._tokens = list(tokens)

    @property
    def has_any(self) -> bool:
        """Whether anything is kept."""
        return bool(self._tickets or self._tokens)

    def take(self) -> tuple[SessionTicket | None, bytes]:
        """Return a ticket, or `None`, and a token, or no bytes, for one connection."""
        had_any = self.has_any
        self._tickets = [ticket for ticket in self._tickets if ticket.is_valid]
        ticket = self._tickets.pop() if self._tickets else None
        token = self._tokens.pop() if self._tokens else b""
        if had_any:
            self._changed()
        return ticket, token

    def keep_ticket(self, ticket: SessionTicket) -> None:
        """Keep a ticket of a server that has proved who it is."""
        self._tickets = [*self._tickets, ticket][-_MOST_KEPT:]
        self._changed()

    def keep_token(self, token: bytes) -> None:
        """Keep a token of a server that has proved who it is."""
        self._tokens = [*self._tokens, token][-_MOST_KEPT:]
        self._changed()

    def as_json(self) -> dict[str, Any]:
        """What `_read` reads again."""
        return {
            "tickets": [_ticket_as_json(ticket) for ticket in self._tickets],
            "tokens": [_text(token) for token in self._tokens],
        }


def _read(file: Path) -> dict[str, tuple[list[SessionTicket], list[bytes]]]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["version"] != _VERSION:
            return {}
        return {
            name: ([_ticket_from_json(each) for each in entry["tickets"]], [_bytes(each) for each in entry["tokens"]])
            for name, entry in document["servers"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _replace(file: Path, text: str) -> None:
    """Readable by its owner alone from its first byte on, and never half written."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(text)
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _ticket_as_json(ticket: SessionTicket) -> dict[str, Any]:
    return {
        "age_add": ticket.age_add,
        "cipher_suite": int(ticket.cipher_suite),
        "not_valid_after": ticket.not_valid_after.timestamp(),
        "not_valid_before": ticket.not_valid_before.timestamp(),
        "resumption_secret": _text(ticket.resumption_secret),
        "server_name": ticket.server_name,
        "ticket": _text(ticket.ticket),
        "max_early_data_size": ticket.max_early_data_size,
        "other_extensions": [[kind, _text(data)] for kind, data in ticket.other_extensions],
    }


def _ticket_from_json(entry: dict[str, Any]) -> SessionTicket:
    moment: Callable[[str], datetime] = lambda key: datetime.fromtimestamp(entry[key], UTC)  # noqa: E731
    return SessionTicket(
        age_add=int(entry["age_add"]),
        cipher_suite=CipherSuite(entry["cipher_suite"]),
        not_valid_after=moment("not_valid_after"),
        not_valid_before=moment("not_valid_before"),
        resumption_secret=_bytes(entry["resumption_secret"]),
        server_name=str(entry["server_name"]),
        ticket=_bytes(entry["ticket"]),
        max_early_data_size=entry["max_early_data_size"],
        other_extensions=[(int(kind), _bytes(data)) for kind, data in entry["other_extensions"]],
    )


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
