"""The server's HelloRetryRequest, which aioquic lacks (RFC 8446 sections 4.1.2 to 4.1.4 and 4.4.1). Sans-IO.

A client whose first ClientHello has no key share of a group that both support is asked for one, once. The state stays
in the connection, so no cookie is needed.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Final

from aioquic import tls
from aioquic._buffer import Buffer
from cryptography.hazmat.primitives.hashes import Hash

RETRY_RANDOM: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The `random` by which a ServerHello is a HelloRetryRequest (RFC 8446 section 4.1.3)."""

_MESSAGE_HASH: Final = 254
_PADDING: Final = 21
_COOKIE: Final = 44
_ENCRYPTED_CLIENT_HELLO: Final = 0xFE0D
_MAY_CHANGE: Final = frozenset(
    {
        tls.ExtensionType.KEY_SHARE,
        tls.ExtensionType.EARLY_DATA,
        tls.ExtensionType.PRE_SHARED_KEY,
        _COOKIE,
        _PADDING,
        _ENCRYPTED_CLIENT_HELLO,  # RFC 9849 section 6.1.5
    }
)
_RANDOM_AND_LATER: Final = 4 + 2  # behind the message header and the legacy version


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the second ClientHello must match."""

    group: int
    first: Hello
    transcript: bytes


class RetryingContext(tls.Context):
    """aioquic's server context, with a HelloRetryRequest where the first ClientHello needs one."""

    _asked: _Asked | None = None

    def _server_handle_hello(self, input_buf: Buffer, initial_buf: Buffer, handshake_buf: Buffer) -> None:
        if self._asked is not None:
            self._check_second(self._asked, input_buf)
            transcript: Any = _Transcript(self._asked.transcript, input_buf)
            super()._server_handle_hello(transcript, initial_buf, handshake_buf)
            return
        if has_key_share(_whole(input_buf), self._supported_groups):
            super()._server_handle_hello(input_buf, initial_buf, handshake_buf)
            return
        hello = tls.pull_client_hello(input_buf)
        input_buf.seek(0)
        group = self._group_to_ask_for(hello)
        if group is None:
            super()._server_handle_hello(input_buf, initial_buf, handshake_buf)
        else:
            self._ask(hello, group, input_buf, initial_buf)
            input_buf.seek(input_buf.capacity)

    def _group_to_ask_for(self, hello: tls.ClientHello) -> int | None:
        """The group to name in a HelloRetryRequest; `None` where the hello can be answered, or must be refused."""
        supported = self._supported_groups
        if hello.key_share is None or any(group in supported for group, _ in hello.key_share):
            return None
        if hello.legacy_session_id:
            return None  # refused (RFC 9001 section 8.4)
        if tls.negotiate(self._cipher_suites, hello.cipher_suites) is None:
            return None
        if tls.negotiate(self._supported_versions, hello.supported_versions) is None:
            return None
        return tls.negotiate(supported, hello.supported_groups)

    def _ask(self, hello: tls.ClientHello, group: int, message: Buffer, initial: Buffer) -> None:
        cipher_suite = tls.negotiate(self._cipher_suites, hello.cipher_suites)
        start = initial.tell()
        tls.push_server_hello(
            initial,
            tls.ServerHello(
                random=RETRY_RANDOM,
                legacy_session_id=hello.legacy_session_id,
                cipher_suite=cipher_suite,
                compression_method=tls.CompressionMethod.NULL,
                supported_version=tls.TLS_VERSION_1_3,
                # the group alone, where a ServerHello would have its key as well
                other_extensions=[(tls.ExtensionType.KEY_SHARE, group.to_bytes(2, "big"))],
            ),
        )
        first = Hash(tls.cipher_suite_hash(cipher_suite))
        first.update(_whole(message))
        digest = first.finalize()
        synthetic = bytes((_MESSAGE_HASH, 0, 0, len(digest))) + digest
        self._asked = _Asked(group, Hello.parse(_whole(message)), synthetic + initial.data_slice(start, initial.tell()))

    def _check_second(self, asked: _Asked, message: Buffer) -> None:
        """Refuse what the first ClientHello does not allow (RFC 8446 sections 4.1.2, 4.2.8 and 4.2.10)."""
        hello = tls.pull_client_hello(message)
        message.seek(0)
        if hello.key_share is None or [group for group, _ in hello.key_share] != [asked.group]:
            raise tls.AlertIllegalParameter(f"The second ClientHello needs one key share, of group {asked.group:#x}")
        if hello.early_data:
            raise tls.AlertIllegalParameter("The second ClientHello offers early data")
        second = Hello.parse(_whole(message))
        if second != asked.first:
            raise tls.AlertIllegalParameter("The second ClientHello differs from the first")


@dataclass(frozen=True, slots=True)
class Hello:
    """The parts of a ClientHello that a HelloRetryRequest must not change."""

    fields: bytes
    extensions: dict[int, bytes]

    @classmethod
    def parse(cls, message: bytes) -> Hello:
        """Split a ClientHello that aioquic has parsed before."""
        buf = Buffer(data=message)
        buf.seek(_RANDOM_AND_LATER + 32)
        for length_size in (1, 2, 1):
            buf.pull_bytes(int.from_bytes(buf.pull_bytes(length_size), "big"))
        fields = buf.data_slice(_RANDOM_AND_LATER, buf.tell())
        buf.pull_uint16()
        extensions = {}
        while not buf.eof():
            extension, length = buf.pull_uint16(), buf.pull_uint16()
            value = buf.pull_bytes(length)
            if extension not in _MAY_CHANGE:
                extensions[extension] = value
        return cls(fields, extensions)


def has_key_share(message: bytes, groups: Container[int]) -> bool:
    """Whether a ClientHello has a key share of one of the groups: most have, and need not be parsed twice for it.

    Also false where the message is cut short, which is for aioquic to find.
    """
    try:
        at = _RANDOM_AND_LATER + 32
        for length_size in (1, 2, 1):
            at += length_size + _number(message, at, length_size)
        at += 2
        while _number(message, at, 2) != tls.ExtensionType.KEY_SHARE:
            at += 4 + _number(message, at + 2, 2)
        end = at + 4 + _number(message, at + 2, 2)
        at += 6
        while at < end:
            if _number(message, at, 2) in groups:
                return True
            at += 4 + _number(message, at + 2, 2)
    except IndexError:
        return False
    return False


def _number(message: bytes, at: int, size: int) -> int:
    if at + size > len(message):
        raise IndexError
    return int.from_bytes(message[at : at + size], "big")


def _whole(message: Buffer) -> bytes:
    return message.data_slice(0, message.capacity)


class _Transcript:
    """The second ClientHello behind what was hashed before it: where aioquic hashes from the start, it takes both.

    The PSK binders cover the same transcript (RFC 8446 section 4.2.11.2).
    """

    def __init__(self, before: bytes, message: Buffer) -> None:
        self._before = before
        self._message = message

    def __getattr__(self, name: str) -> Any:
        return getattr(self._message, name)

    @property
    def data(self) -> bytes:
        return self._before + self._message.data

    def data_slice(self, start: int, stop: int) -> bytes:
        return (self._before if start == 0 else b"") + self._message.data_slice(start, stop)
