"""A server's Initial keys (RFC 9001 section 5.2), derived for the versions that its client really uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aioquic.quic.crypto import CryptoPair


class InitialKeys(dict[int, CryptoPair]):
    """Key pairs by version, in place of aioquic's dictionary; one pair costs 35 us and 8 KB.

    `known` are those derived already, `versions` all that a packet may have. After `freeze`, when the Initial keys are
    being discarded, another version has keys that open nothing.
    """

    def __init__(self, known: Mapping[int, CryptoPair], peer_cid: bytes, versions: Iterable[int]) -> None:
        super().__init__(known)
        self._peer_cid: bytes | None = peer_cid
        self._versions = versions

    def freeze(self) -> None:
        """Derive none any more."""
        self._peer_cid = None

    def __missing__(self, version: int) -> CryptoPair:
        if version not in self._versions:
            raise KeyError(version)
        pair = self[version] = CryptoPair()
        if self._peer_cid is not None:
            pair.setup_initial(cid=self._peer_cid, is_client=False, version=version)
        return pair
