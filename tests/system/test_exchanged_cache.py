"""Another user exchanges the cache while artefacts are loaded: no artefact of that user is ever found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mounts import with_mounts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a process as another user")

NOBODY = 65534
LOADS = 3000

# The attacker exchanges `cache`, which is root's, and `evil` as fast as it can (renameat2(2), RENAME_EXCHANGE).
ATTACKER = """
import ctypes, os, sys
os.chdir(sys.argv[1])
os.setgid(65534), os.setuid(65534)
exchange = ctypes.CDLL(None, use_errno=True).renameat2
print("ready" if exchange(-100, b"cache", -100, b"evil", 2) == 0 else os.strerror(ctypes.get_errno()), flush=True)
while exchange(-100, b"cache", -100, b"evil", 2) == 0:
    pass
"""

# Loads so often, and until each kind of result was seen.
LOADER = f"""
import json, os, shutil, subprocess, sys, time
from collections import Counter
from pathlib import Path
from wagi_gateway.compiler.cache import ArtefactCache, CacheRefused
up = Path(sys.argv[1])
os.chown(up, int(sys.argv[2]), -1)
os.chmod(up, int(sys.argv[3], 8))
os.makedirs(up / "evil")
for name in ("cache", "evil"):
    ArtefactCache(Path(sys.argv[4]) / name).store("k", b"own" if name == "cache" else b"EVIL")
    shutil.copytree(Path(sys.argv[4]) / name, up / name, dirs_exist_ok=True)
os.chmod(up / "cache", 0o700)
for path in (up / "evil", *(up / "evil").iterdir()):
    os.chown(path, {NOBODY}, {NOBODY})
attacker = subprocess.Popen([sys.executable, "-c", sys.argv[5], str(up)], stdout=subprocess.PIPE, text=True)
assert attacker.stdout.readline() == "ready\\n"
seen, until = Counter(), time.monotonic() + 60
while (sum(seen.values()) < {LOADS} or len(seen) < int(sys.argv[6])) and time.monotonic() < until:
    try:
        cache = ArtefactCache(up / "cache")
        path = cache.find("k")
        seen[path.read_text() if path else "nothing"] += 1
    except CacheRefused:
        seen["refused"] += 1
attacker.kill(), attacker.wait()
print(json.dumps(seen))
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("owner", "mode", "results"),
    [(0, "0777", {"own", "refused"}), (NOBODY, "0755", {"refused"})],
    ids=["in a mount that all may write to", "in a directory of the attacker"],
)
def test_no_artefact_of_another_user_is_loaded(tmp_path: Path, owner: int, mode: str, results: set[str]) -> None:
    (tmp_path / "up").mkdir()
    (tmp_path / "made").mkdir()
    tmp_path.chmod(0o755)
    mount = with_mounts('mount -t tmpfs tmpfs "$0"', tmp_path / "up")
    arguments = [tmp_path / "up", owner, mode, tmp_path / "made", ATTACKER, len(results)]
    command = [*mount, sys.executable, "-c", LOADER, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == results
