"""The directories above a private one: judged by owner, mode and sticky bit, and opened as they were judged."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mounts import with_mounts
from wagi_gateway.sources.directory_chain import ChainRefused, open_chain

NOBODY = 65534
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The current path of a directory that was opened."""
    descriptor = open_chain(path)
    try:
        yield Path(os.readlink(f"/proc/self/fd/{descriptor}"))
    finally:
        os.close(descriptor)


def with_mode(mode: int) -> Callable[[Path], None]:
    return lambda up: up.chmod(mode)


def given_away(up: Path) -> None:
    os.chown(up, NOBODY, NOBODY)


def linked_by_another(up: Path) -> None:
    up.rename(up.with_name("real"))
    up.symlink_to("real")
    os.chown(up, NOBODY, NOBODY, follow_symlinks=False)


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "writable by the group": (with_mode(0o770), r"/up is writable by others \(mode 0770\)"),
    "writable by all": (with_mode(0o777), r"/up is writable by others \(mode 0777\)"),
    "written to by all, and not searched": (with_mode(0o702), r"/up is writable by others \(mode 0702\)"),
    "of another user": (given_away, "/up belongs to user 65534, not to user 0"),
    "a link of another user": (linked_by_another, "the symbolic link /.*/up belongs to user 65534"),
}


@is_root
@pytest.mark.parametrize("is_there", [True, False], ids=["there", "to be made"])
@pytest.mark.parametrize(("spoil", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_directory_above_that_others_may_exchange(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str, is_there: bool
) -> None:
    up = tmp_path / "up"
    (up / "between").mkdir(parents=True)
    if is_there:
        (up / "between/cache").mkdir(mode=0o700)
    spoil(up)
    with pytest.raises(ChainRefused, match=rf"/cache could be exchanged by others: .*{reason}"):
        open_chain(up / "between/cache")
    assert (up / "between/cache").exists() == is_there


@pytest.mark.parametrize("mode", [0o1777, 0o1770, 0o755, 0o700, 0o711])
def test_a_directory_above_in_which_nobody_exchanges_what_is_mine(tmp_path: Path, mode: int) -> None:
    up = tmp_path / "up"
    up.mkdir()
    up.chmod(mode)
    with opened(up / "cache") as path:
        assert path == up / "cache"
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


@is_root
def test_in_a_directory_with_the_sticky_bit_the_owner_counts(tmp_path: Path) -> None:
    (tmp_path / "up/theirs").mkdir(parents=True)
    (tmp_path / "up").chmod(0o1777)
    os.chown(tmp_path / "up/theirs", NOBODY, NOBODY)
    with pytest.raises(ChainRefused, match="/up/theirs belongs to user 65534"):
        open_chain(tmp_path / "up/theirs/cache")


@pytest.mark.parametrize("target", ["real", "../{name}/real", "{path}/real", "real/../real/."])
def test_a_link_on_the_way_is_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(target.format(name=tmp_path.name, path=tmp_path))
    with opened(tmp_path / "link/cache") as path:
        assert path == tmp_path / "real/cache"


def test_what_a_link_leads_to_is_judged(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to("open")
    with pytest.raises(ChainRefused, match="/open is writable by others"):
        open_chain(tmp_path / "link/cache")


def test_a_detour_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    with opened(tmp_path / "a/b/../cache") as path:
        assert path == tmp_path / "a/cache"


def test_links_without_end(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ChainRefused, match="is a symbolic link"):
        open_chain(tmp_path / "loop/cache")


@is_root
@pytest.mark.parametrize(("mode", "is_refused"), [("0777", False), ("1777", False), ("0777,uid=65534", True)])
def test_the_root_of_a_mount(tmp_path: Path, mode: str, is_refused: bool) -> None:
    """Kubernetes makes an emptyDir root's, with mode 0777."""
    code = f"import sys, pathlib; from {open_chain.__module__} import *; open_chain(pathlib.Path(sys.argv[1]))"
    command = [*with_mounts(f'mount -t tmpfs -o mode={mode} tmpfs "$0"', tmp_path), sys.executable, "-c", code]
    done = subprocess.run([*command, str(tmp_path / "cache")], capture_output=True, text=True, timeout=60)
    assert bool(done.returncode) == is_refused, done.stderr
    assert ("could be exchanged by others" in done.stderr) == is_refused


def test_no_descriptor_is_left_of_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    before = os.listdir("/proc/self/fd")
    for name in ("file/x", "open/x"):
        with pytest.raises((OSError, ChainRefused)):
            open_chain(tmp_path / name)
    assert len(os.listdir("/proc/self/fd")) == len(before)
