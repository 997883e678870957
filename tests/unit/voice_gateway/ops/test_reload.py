from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from testbed.simnet.loop import VirtualLoop
from voice_gateway.errors import ConfigurationError
from voice_gateway.ops.reload import Reloader, SettingsSource
from voice_gateway.settings.gateway_settings import GatewaySettings


def settings(name: str = "first") -> GatewaySettings:
    return GatewaySettings.model_validate(
        {"worker": {"name": name, "listen": "127.0.0.1:0"}, "tls": {"certificate": "c", "key": "k"}}
    )


class Part:
    """Takes what its file holds, unless that is `wrong`."""

    def __init__(self, name: str, file: Path) -> None:
        self.name = name
        self.file = file
        self.taken: list[tuple[str, str]] = []

    def files(self, settings: GatewaySettings) -> Iterable[Path]:
        return [self.file]

    def reload(self, settings: GatewaySettings) -> None:
        text = self.file.read_text()
        if text == "wrong":
            raise ConfigurationError(f"{self.file}: bad")
        self.taken.append((settings.worker.name, text))


@pytest.fixture
def part(tmp_path: Path) -> Part:
    (tmp_path / "part").write_text("old")
    return Part("part", tmp_path / "part")


@pytest.fixture
def other(tmp_path: Path) -> Part:
    (tmp_path / "other").write_text("old")
    return Part("other", tmp_path / "other")


def watch(reloader: Reloader, *steps: tuple[float, object]) -> None:
    """Run the reloader on virtual time: each step is a time and what to write to the file then."""
    loop = VirtualLoop()

    async def run() -> None:
        reloader.start()
        began = loop.time()
        for at_s, do in steps:
            await asyncio.sleep(began + at_s - loop.time())
            do()  # type: ignore[operator]
        reloader.stop()

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


def nothing() -> None:
    """Only time passes."""


def test_a_file_is_read_once_it_has_rested(part: Part) -> None:
    watch(
        Reloader(settings(), [part]),
        (0.5, lambda: part.file.write_text("halfway")),
        (1.5, lambda: part.file.write_text("whole")),
        (10.5, nothing),
    )
    assert part.taken == [("first", "whole")]


def test_only_what_changed_is_read(part: Part, other: Part) -> None:
    watch(Reloader(settings(), [part, other]), (0.5, lambda: part.file.write_text("new!")), (5, nothing))
    assert part.taken == [("first", "new!")]
    assert other.taken == []


def test_what_is_bad_is_said_once_and_counted_and_the_next_is_read(part: Part) -> None:
    reloader = Reloader(settings(), [part])
    with capture_logs() as logs:
        watch(
            reloader,
            (0.5, lambda: part.file.write_text("wrong")),
            (9.5, lambda: part.file.write_text("good")),
            (15, nothing),
        )
    assert part.taken == [("first", "good")]
    assert reloader.counts == {("part", "refused"): 1, ("part", "done"): 1}
    assert [line["event"] for line in logs] == ["reload_refused", "reloaded"]
    assert "part: bad" in logs[0]["error"]


def test_a_file_that_is_gone_and_back_is_read(part: Part) -> None:
    watch(
        Reloader(settings(), [part]),
        (0.2, part.file.unlink),
        (0.4, lambda: part.file.write_text("back")),
        (5, nothing),
    )
    assert part.taken == [("first", "back")]


def test_asked_to_it_reads_everything(part: Part, other: Part) -> None:
    Reloader(settings(), [part, other]).reload()
    assert part.taken == other.taken == [("first", "old")]


def test_new_settings_go_to_every_part(part: Part, other: Part, tmp_path: Path) -> None:
    file = tmp_path / "worker.toml"
    file.write_text("first")
    source = SettingsSource(file, lambda: settings(file.read_text()))
    reloader = Reloader(settings(), [part, other], source)
    watch(reloader, (0.5, lambda: file.write_text("second")), (5, nothing))
    assert part.taken == other.taken == [("second", "old")]
    assert reloader.counts["settings", "done"] == 1


def test_bad_settings_reach_no_part(part: Part, tmp_path: Path) -> None:
    def load() -> GatewaySettings:
        raise ConfigurationError("worker.toml: worker.name: unknown key")

    file = tmp_path / "worker.toml"
    file.write_text("first")
    reloader = Reloader(settings(), [part], SettingsSource(file, load))
    reloader.reload()
    assert part.taken == []
    assert reloader.counts == {("settings", "refused"): 1}
