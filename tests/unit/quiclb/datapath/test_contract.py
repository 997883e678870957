"""The shipped contract suite over every datapath of ours."""

from __future__ import annotations

import pytest

from quiclb.datapath.asyncio_datapath import AsyncioDatapath
from quiclb.datapath.base import Datapath
from quiclb.datapath.loading import check_datapath_name, datapath_names, load_datapath
from quiclb.datapath.memory import MemoryDatapath
from quiclb.datapath.vectorised import batch_loop
from quiclb.datapath.vectorised.datapath import VectorisedDatapath
from quiclb.errors import ConfigError
from quiclb.testing.datapath_contract import DatapathContract, SocketDatapathContract
from quiclb.testing.datapath_driver import DatapathDriver, MemoryDriver


class TestAsyncioDatapath(SocketDatapathContract):
    def make(self) -> Datapath:
        return AsyncioDatapath()


class TestVectorisedDatapath(SocketDatapathContract):
    def make(self) -> Datapath:
        return VectorisedDatapath()


class TestBatches(SocketDatapathContract):
    """The vectorised datapath with arrays alone, which few datagrams would not reach."""

    @pytest.fixture(autouse=True)
    def _no_singles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batch_loop, "SINGLES", 0)
        monkeypatch.setattr(batch_loop, "JOIN_FROM", 2)
        monkeypatch.setattr(batch_loop, "FLUSH_BATCHES", 1)

    def make(self) -> Datapath:
        return VectorisedDatapath()


class TestMemoryDatapath(DatapathContract):
    def make(self) -> Datapath:
        return MemoryDatapath()

    def driver(self) -> DatapathDriver:
        return MemoryDriver()


def test_ours_are_found_by_name() -> None:
    assert {"asyncio", "vectorised"} <= set(datapath_names())
    assert load_datapath("asyncio") is AsyncioDatapath
    assert load_datapath("vectorised") is VectorisedDatapath


def test_an_unknown_name_lists_what_is_installed() -> None:
    with pytest.raises(ConfigError, match=r"must be one of the installed datapaths: asyncio, vectorised; got 'fast'"):
        check_datapath_name("fast")
