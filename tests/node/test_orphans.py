"""Orphans of a process that is the first one of a container."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import ctypes, subprocess, time
from wagi_gateway.node.orphans import Orphans, zombies

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
own = subprocess.Popen(["/bin/sh", "-c", "exit 7"])
subprocess.run(["/bin/sh", "-c", "/bin/true &"])
while len(zombies()) < 2:
    time.sleep(0.01)
orphans = Orphans()
orphans.look()
print(len(zombies()), own.wait())
orphans.look()
print(len(zombies()))
"""


def test_an_orphan_is_waited_for() -> None:
    """And the exit code of a child that this process waits for is not lost."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("2 7\n0\n", "")
