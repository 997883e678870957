"""A server's Initial keys (RFC 9001 section 5.2), derived for the versions that its client really uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aioquic.quic.crypto import (
    INITIAL_CIPHER_SUITE,
    INITIAL_SALT_VERSION_1,
    INITIAL_SALT_VERSION_2,
    CryptoContext,
    CryptoPair,
)
from aioquic.quic.packet import QuicProtocolVersion
from cryptography.hazmat.primitives.hashes import SHA256

from voicelink.quic.handshake import hkdf

_HASH: Final = SHA256()


class InitialPair(CryptoPair):
    """The keys for one version and the client's first destination connection ID.

    The client's keys are derived at once: they show whether a client made its packet. The server's own are by
    `complete`, for a connection that is to answer. Each half costs 15 us and 4 KB.
    """

    def __init__(self, cid: bytes, version: int) -> None:
        super().__init__()
        self._cid = cid
        self._version = version
        salt = INITIAL_SALT_VERSION_2 if version == QuicProtocolVersion.VERSION_2 else INITIAL_SALT_VERSION_1
        self._secret = hkdf.extract(_HASH, salt, cid)
        self._derive(self.recv, b"client in")

    def is_for(self, cid: bytes, version: int) -> bool:
        """Whether these are the keys of that connection ID and version."""
        return self._cid == cid and self._version == version

    def complete(self) -> InitialPair:
        """Derive the server's keys too, and return the pair."""
        self._derive(self.send, b"server in")
        return self

    def _derive(self, half: CryptoContext, label: bytes) -> None:
        secret = hkdf.expand_label(_HASH, self._secret, label, b"", _HASH.digest_size)
        half.setup(cipher_suite=INITIAL_CIPHER_SUITE, secret=secret, version=self._version)


class InitialKeys(dict[int, CryptoPair]):
    """Key pairs by version, in place of aioquic's dictionary, which has all of them.

    `known` is one that was derived already, and `versions` are all that a packet may have. After `freeze`, when the
    Initial keys are being discarded, another version has keys that open nothing.
    """

    def __init__(self, peer_cid: bytes, versions: Iterable[int], known: InitialPair | None = None) -> None:
        super().__init__()
        self._peer_cid: bytes | None = peer_cid
        self._versions = versions
        self._known = known

    def freeze(self) -> None:
        """Derive none any more."""
        self._peer_cid = self._known = None

    def __missing__(self, version: int) -> CryptoPair:
        if version not in self._versions:
            raise KeyError(version)
        pair = self[version] = self._derived(version)
        return pair

    def _derived(self, version: int) -> CryptoPair:
        if self._peer_cid is None:
            return CryptoPair()
        known, self._known = self._known, None
        if known is None or not known.is_for(self._peer_cid, version):
            known = InitialPair(self._peer_cid, version)
        return known.complete()
