"""What is derived from a machine or a container."""

from __future__ import annotations

import pytest

from voice_gateway.errors import ConfigurationError
from voice_gateway.supervisor.machine import MOST_SESSIONS, Machine, cpu_quota, memory_limit

GIB = 1 << 30


def test_a_worker_for_each_core_that_can_be_busy():
    assert Machine((0, 1, 5), GIB).workers == 3
    assert Machine((0, 1, 5), GIB, quota=2.5).workers == 2
    assert Machine((0, 1, 5), GIB, quota=0.5).workers == 1
    assert Machine(tuple(range(200)), GIB).workers == 64


def test_workers_go_to_the_cores_there_are():
    machine = Machine((2, 7), GIB)
    assert [machine.core_of(place) for place in range(4)] == [2, 7, 2, 7]


@pytest.mark.parametrize(
    ("memory", "descriptors", "workers", "sessions"),
    [
        (64 * GIB, None, 4, MOST_SESSIONS),
        (4 * GIB, 20_000, 4, MOST_SESSIONS),
        (2 * GIB, 20_000, 4, 153),
        (64 * GIB, 400, 4, 240),
    ],
)
def test_sessions_follow_from_memory_and_descriptors(memory, descriptors, workers, sessions):
    assert Machine((0,), memory, descriptors=descriptors).sessions_of_each(workers) == sessions


def test_too_little_is_refused_with_the_remedy():
    with pytest.raises(ConfigurationError, match=r"4 workers need more than the 1024 MiB .* --workers"):
        Machine((0,), GIB).sessions_of_each(4)
    with pytest.raises(ConfigurationError, match="160 file descriptors are too few"):
        Machine((0,), 64 * GIB, descriptors=160).sessions_of_each(1)


@pytest.mark.parametrize(
    ("files", "quota", "limit"),
    [
        ({}, None, None),
        ({"/sys/fs/cgroup/cpu.max": "max 100000\n", "/sys/fs/cgroup/memory.max": "max\n"}, None, None),
        ({"/sys/fs/cgroup/cpu.max": "150000 100000\n", "/sys/fs/cgroup/memory.max": "1073741824\n"}, 1.5, GIB),
        ({"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, None, None),
        (
            {
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824",
            },
            2.0,
            GIB,
        ),
        ({"/sys/fs/cgroup/cpu.max": "100000 0"}, None, None),
        (
            {
                "/proc/self/cgroup": "0::/system.slice/voice.service\n",
                "/sys/fs/cgroup/system.slice/memory.max": "4294967296\n",
                "/sys/fs/cgroup/system.slice/cpu.max": "max 100000\n",
                "/sys/fs/cgroup/system.slice/voice.service/memory.max": "1073741824\n",
                "/sys/fs/cgroup/system.slice/voice.service/cpu.max": "250000 100000\n",
            },
            2.5,
            GIB,
        ),
        (
            {
                "/proc/self/cgroup": "12:memory:/x\n0::/user.slice/user-0.slice/session-1.scope\n",
                "/sys/fs/cgroup/user.slice/memory.max": "1073741824\n",
                "/sys/fs/cgroup/user.slice/cpu.max": "50000 100000\n",
                "/sys/fs/cgroup/user.slice/user-0.slice/memory.max": "8589934592\n",
                "/sys/fs/cgroup/user.slice/user-0.slice/session-1.scope/memory.max": "max\n",
            },
            0.5,
            GIB,
        ),
    ],
)
def test_limits_of_control_groups_of_both_versions(files, quota, limit):
    assert cpu_quota(files.get) == quota
    assert memory_limit(files.get) == limit


def test_this_machine_has_a_core_and_memory():
    machine = Machine.of_process()
    assert machine.workers >= 1
    assert machine.memory_bytes > 1 << 28
