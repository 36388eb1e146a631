"""The benchmark of workers gives real processes a share of a core each."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.allowance import SAVED, Allowance, cpu_clock

SHARE = 0.1
SECONDS = 1.0
LATE = 0.3
"""Seconds that a look may be late on a machine with much to do; they are made up for later."""


@pytest.fixture
def spinners() -> Iterator[list[int]]:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    yield [process.pid for process in processes]
    for process in processes:
        process.kill()
        process.communicate()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_nobody_has_more_than_its_share(spinners: list[int]) -> None:
    with Allowance(spinners, SHARE):
        before, start = [cpu_clock(pid) for pid in spinners], time.monotonic()
        time.sleep(SECONDS)
        used = [cpu_clock(pid) - was for pid, was in zip(spinners, before, strict=True)]
        passed = time.monotonic() - start
    for seconds in used:
        assert 0 < seconds < passed * SHARE + SAVED + LATE
    assert all(state(pid) != "T" for pid in spinners)


def test_a_process_that_has_ended() -> None:
    alone = subprocess.Popen([sys.executable, "-c", ""])
    alone.wait()
    with pytest.raises(OSError):
        cpu_clock(alone.pid)
