"""`quiclb.routing.router.route` over a batch: arrays of datagrams in, arrays of backends and reasons out.

The scalar router is the specification: both decide alike on every datagram.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from quiclb.codec.cid import LOW_BITS, MAX_CID_LENGTH, UNROUTABLE_CONFIG_ID
from quiclb.codec.config import QuicLbConfig
from quiclb.codec.decoder import Reason
from quiclb.datapath.linux.batches import ByteArray, Flags, Integers, Words
from quiclb.datapath.vectorised.arrays.cipher import server_ids_of
from quiclb.datapath.vectorised.arrays.word_index import MISSING, WordIndex
from quiclb.net.address import V4_MAPPED
from quiclb.net.spp import HEADER_LENGTH, MAGIC
from quiclb.routing.fallback import HASH_SEED, MIX_MULTIPLIER
from quiclb.routing.packet import LONG_FORM, PacketFault
from quiclb.routing.pool import BackendState
from quiclb.routing.router import DropReason
from quiclb.routing.table import RoutingTable, UnknownServerId

OUTCOMES: Final = (None, *Reason, *PacketFault, *DropReason)
"""What an outcome code stands for, by index: `None` for a routable connection ID, otherwise the reason it is not."""

FlowWords = Callable[[Integers], tuple[Words, Words, Words, Words]]
"""Gives the 4-tuples of some rows: `vip_hash`, high and low word of the client's 16-byte address, and its port."""


@dataclass(frozen=True, slots=True)
class Routes:
    """For each datagram the index of its backend in the pool's order, `MISSING` for a drop, and its outcome code.

    Routable where the code is 0, fallback where there is a backend all the same, else dropped.
    """

    backends: Integers
    outcomes: ByteArray


class BatchRouter:
    """One routing table, ready for batches. Make a new one for a new table."""

    def __init__(self, table: RoutingTable) -> None:
        self.table: Final = table
        self.backends: Final = tuple(table.pool)
        self._configs: list[_ConfigDecoder | None] = [None] * 8
        for config in table.configs:
            self._configs[config.config_id] = _ConfigDecoder(config, table)
        place = {backend.name: index for index, backend in enumerate(self.backends)}
        active = [place[backend.name] for backend in table.pool.in_state(BackendState.ACTIVE)]
        self._fallback = np.array(active, np.int64)[np.asarray(table.maglev.slots, np.int64)]
        self._cids: tuple[ByteArray, npt.NDArray[np.void]] | None = None

    def route(self, raw: ByteArray, starts: Integers, lengths: Integers, flow_words: FlowWords) -> Routes:
        """Decide on datagrams that lie in `bytes`, at least 64 bytes from its end."""
        count = len(starts)
        first = raw[starts]
        cid_starts, available = starts + 1, lengths - 1
        is_truncated = None
        is_long = first >= LONG_FORM
        if np.count_nonzero(is_long):
            long_rows = np.flatnonzero(is_long)
            cid_starts[long_rows] += 5
            is_cut, dcid_lengths = _long_headers(raw, starts[long_rows], lengths[long_rows])
            available[long_rows] = dcid_lengths
            is_truncated = long_rows[is_cut]
        cids = self._gather(raw)[cid_starts]
        backends = np.full(count, MISSING)
        outcomes = np.empty(count, np.uint8)
        codepoints = _rows(cids)[:, 0] >> np.uint8(5)
        for codepoint in _present(codepoints):
            rows: slice | Integers = _EVERYTHING if codepoint is None else np.flatnonzero(codepoints == codepoint)
            config = self._configs[int(codepoints[0]) if codepoint is None else codepoint]
            if config is None:
                if (codepoints[0] if codepoint is None else codepoint) == UNROUTABLE_CONFIG_ID:
                    is_wrapped = _are_wrapped(raw, starts[rows], lengths[rows], _rows(cids[rows]))
                    outcomes[rows] = np.where(is_wrapped, _CODES[DropReason.LOOP], _CODES[Reason.RESERVED])
                else:
                    outcomes[rows] = _CODES[Reason.NO_CONFIG]
            else:
                backends[rows], outcomes[rows] = config.decode(cids[rows], available[rows], is_long[rows])
        if np.count_nonzero(available <= 0):
            outcomes[available <= 0] = _CODES[Reason.EMPTY]
        if is_truncated is not None:
            outcomes[is_truncated] = _CODES[PacketFault.TRUNCATED]
        if np.count_nonzero(lengths) < count:
            outcomes[lengths == 0] = _CODES[PacketFault.EMPTY]
        if np.count_nonzero(outcomes):
            self._place(backends, outcomes, flow_words)
        return Routes(backends, outcomes)

    def _place(self, backends: Integers, outcomes: ByteArray, flow_words: FlowWords) -> None:
        """Let the 4-tuple choose for what is unroutable but no fault, and give faults no backend."""
        backends[outcomes != 0] = MISSING
        falls_back = _FALLS_BACK[self.table.unknown_server_id][outcomes]
        rows = np.flatnonzero(falls_back)
        if not len(rows):
            return
        if not len(self._fallback):
            outcomes[rows] = _CODES[DropReason.NO_BACKEND]
            return
        vip_hashes, high, low, ports = flow_words(rows)
        hashes = _mix(_mix(_mix(high ^ vip_hashes) ^ low) ^ ports)
        backends[rows] = self._fallback[(hashes % np.uint64(len(self._fallback))).astype(np.int64)]

    def _gather(self, raw: ByteArray) -> npt.NDArray[np.void]:
        """The same memory as overlapping items of one connection ID each, so that one index takes 20 bytes."""
        if self._cids is None or self._cids[0] is not raw:
            self._cids = (raw, overlapping(raw, MAX_CID_LENGTH))
        return self._cids[1]


def vip_hashes(high: Words, low: Words, port: int) -> Words:
    """`quiclb.routing.fallback.vip_hash` of many addresses with one port."""
    return _mix(_mix(_mix(high ^ _SEED) ^ low) ^ np.uint64(port))


def overlapping(raw: ByteArray, width: int) -> npt.NDArray[np.void]:
    """View bytes as items of `width` bytes that start at every byte."""
    return np.ndarray((len(raw) - width + 1,), np.dtype((np.void, width)), buffer=raw.data, strides=(1,))


class _ConfigDecoder:
    """The connection IDs of one config."""

    def __init__(self, config: QuicLbConfig, table: RoutingTable) -> None:
        self._config = config
        self._server_ids = server_ids_of(config)
        self._checks_length = table.decoder.checks_self_length
        owners = [
            (server_id, index)
            for index, backend in enumerate(table.pool)
            for server_id in backend.server_ids.get(config.config_id, ())
        ]
        length = config.server_id_length
        self._is_wide = length > 8
        self._high_shift = np.uint64(max(64 - 8 * length, 0))
        self._low_shift = np.uint64(128 - 8 * length if self._is_wide else 0)
        keys = [
            (int.from_bytes(server_id[:8], "big"), int.from_bytes(server_id[8:], "big"))[: 1 + self._is_wide]
            for server_id, _ in owners
        ]
        self._index = WordIndex(keys, [index for _, index in owners], 1 + self._is_wide)
        self._is_down = np.array([backend.state is BackendState.DOWN for backend in table.pool], np.bool_)
        self._has_down = bool(self._is_down.any())

    def decode(self, cids: npt.NDArray[np.void], available: Integers, is_long: Flags) -> tuple[Integers, ByteArray]:
        """The backends that the server IDs name, and outcome codes; backends of non-zero outcomes mean nothing."""
        raw = _rows(cids)
        plaintext = self._server_ids(raw[:, 1:])
        backends = self._index.find(*self._words(plaintext))
        outcomes = np.zeros(len(cids), np.uint8)
        if self._has_down:
            outcomes[self._is_down[backends]] = _CODES[Reason.BACKEND_DOWN]
        outcomes[backends == MISSING] = _CODES[Reason.UNKNOWN_SERVER_ID]
        if self._checks_length:
            encoded = raw[:, 0] & LOW_BITS
            outcomes[encoded < self._config.combined_length] = _CODES[Reason.SELF_LENGTH_TOO_SMALL]
            outcomes[is_long & (encoded != available - 1)] = _CODES[Reason.SELF_LENGTH_MISMATCH]
        outcomes[available < self._config.cid_length] = _CODES[Reason.TOO_SHORT]
        return backends, outcomes

    def _words(self, plaintext: ByteArray) -> list[Words]:
        words = np.ascontiguousarray(plaintext[:, : 8 + 8 * self._is_wide]).view(">u8").astype(np.uint64)
        high = words[:, 0] >> self._high_shift
        return [high, words[:, 1] >> self._low_shift] if self._is_wide else [high]


def _long_headers(raw: ByteArray, starts: Integers, lengths: Integers) -> tuple[Flags, Integers]:
    """Which long headers are cut short, and how long each DCID is."""
    dcid_lengths = raw[starts + 5].astype(np.int64)
    dcid_ends = dcid_lengths + 6
    is_cut = (lengths < 7) | (dcid_ends >= lengths)
    scid_lengths = raw[starts + np.where(is_cut, 0, dcid_ends)]
    is_cut |= dcid_ends + 1 + scid_lengths > lengths
    return is_cut, dcid_lengths


def _are_wrapped(raw: ByteArray, starts: Integers, lengths: Integers, cids: ByteArray) -> Flags:
    """`quiclb.net.spp.is_wrapped` of datagrams whose connection IDs begin with codepoint 0b111."""
    is_wrapped: Flags = (raw[starts] == _MAGIC[0]) & (cids[:, 0] == _MAGIC[1]) & (lengths > HEADER_LENGTH)
    rows = np.flatnonzero(is_wrapped)
    if len(rows):
        second = starts[rows] + HEADER_LENGTH
        is_nested = (raw[second] == _MAGIC[0]) & (raw[second + 1] == _MAGIC[1])
        is_nested &= lengths[rows] > 2 * HEADER_LENGTH
        is_wrapped[rows] = is_nested | (cids[rows, 1 : 1 + len(V4_MAPPED)] == _V4_MAPPED).all(axis=1)
    return is_wrapped


def _present(codepoints: ByteArray) -> list[int] | list[None]:
    """Which codepoints occur; `[None]` if all are the same, which most batches are."""
    if not np.count_nonzero(codepoints != codepoints[0]):
        return [None]
    return [int(codepoint) for codepoint in np.flatnonzero(np.bincount(codepoints, minlength=8))]


def _rows(cids: npt.NDArray[np.void]) -> ByteArray:
    return cids.view(np.uint8).reshape(-1, MAX_CID_LENGTH)


def _mix(words: Words) -> Words:
    words = (words ^ words >> _HALF_WORD) * _MULTIPLIER
    words = (words ^ words >> _HALF_WORD) * _MULTIPLIER
    return words ^ words >> _HALF_WORD


_MAGIC = MAGIC.to_bytes(2, "big")
_V4_MAPPED = np.frombuffer(V4_MAPPED, np.uint8)
_EVERYTHING = slice(None)
_HALF_WORD = np.uint64(32)
_MULTIPLIER = np.uint64(MIX_MULTIPLIER)
_SEED = np.uint64(HASH_SEED)
_CODES: Final = {outcome: code for code, outcome in enumerate(OUTCOMES)}
_FALLS_BACK: Final = {
    choice: np.array(
        [
            isinstance(outcome, Reason) and not (outcome is Reason.UNKNOWN_SERVER_ID and choice is UnknownServerId.DROP)
            for outcome in OUTCOMES
        ]
    )
    for choice in UnknownServerId
}
