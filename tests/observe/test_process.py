"""Resource usage of a process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from wagi_gateway.observe.process import usage


def test_of_this_process() -> None:
    used = usage(os.getpid())
    assert used
    assert 2**20 < used.resident < used.virtual
    assert used.cpu_seconds > 0
    assert used.threads >= threading.active_count()
    assert 3 <= used.descriptors <= used.max_descriptors
    assert time.time() - 86400 * 365 < used.started <= time.time() + 1


def test_of_a_program_with_an_odd_name() -> None:
    """Field 2 of /proc/PID/stat may contain blanks and parentheses."""
    code = "open('/proc/self/comm', 'w').write('a) b (c'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        used = usage(process.pid)
        process.communicate(b"\n")
    assert used
    assert used.threads == 1


@pytest.mark.parametrize("pid", [2**22 + 1, -1], ids=["ended", "invalid"])
def test_of_no_process(pid: int) -> None:
    assert usage(pid) is None
