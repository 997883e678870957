"""One machine under `voice-gateway up`: calls outlive workers that die, a reload, and an upgrade."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from testbed.box import box, talking
from testbed.waiting import until
from voice_client.call import recovery


async def test_migration_stays_at_the_worker_and_a_killed_worker_costs_no_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_DEAD_AFTER_S", 8.0)  # a worker that a busy machine holds up is not dead
    async with box(tmp_path) as running:
        calls = await running.calls_on_each_worker()
        victim, bystander = calls
        before, names = await running.workers(), [call.worker for call in calls]
        async with talking(calls):
            for call in calls * 3:
                await call.migrate()
            assert [call.worker for call in calls] == names
            assert [call.resumes for call in calls] == [(), ()]
            os.kill(before[victim.worker or ""], signal.SIGKILL)
            after = await running.until_workers(lambda found: len(found) == 2 and found != before)
        assert [len(call.migrations) for call in calls] == [3, 3]
        (resumed,) = victim.resumes
        assert resumed.worker == bystander.worker
        assert not bystander.resumes
        assert after.keys() == before.keys()


async def test_reload_and_upgrade_replace_all_workers_and_lose_no_call(tmp_path: Path) -> None:
    async with box(tmp_path) as running:
        calls = await running.calls_on_each_worker()
        async with talking(calls):
            for number in (signal.SIGHUP, signal.SIGUSR2):
                before = await running.workers()
                running.process.send_signal(number)
                await running.until("workers_replaced")
                assert set(before.values()).isdisjoint((await running.workers()).values())
        assert all(call.resumes for call in calls)


async def test_calls_outlive_a_killed_supervisor_and_a_bad_reload(tmp_path: Path) -> None:
    async with AsyncExitStack() as opened:
        first = await opened.enter_async_context(box(tmp_path, ends_well=False))
        calls = await first.calls_on_each_worker()
        async with talking(calls):
            first.process.kill()
            second = await opened.enter_async_context(box(tmp_path, "--listen", first.facts["direct"]))
            await until(lambda: all(call.resumes for call in calls), "the calls go on")
            before = await second.workers()
            (tmp_path / "secret").write_text("no hexadecimal")
            second.process.send_signal(signal.SIGHUP)
            assert "secret" in (await second.until("reload_refused"))["error"]
            assert await second.workers() == before
