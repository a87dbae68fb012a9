"""Orphans of a process that is the first one of a container."""

from __future__ import annotations

import subprocess
import sys

from wagi_gateway.node.orphans import LOOK
from wagi_gateway.sources.oci.credential_helper import HELPER_TIME

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


def test_children_of_its_own_are_not_waited_for_first() -> None:
    """A credential helper that has ended is waited for once its children have closed its output, or in HELPER_TIME."""
    assert 2 * HELPER_TIME < LOOK
