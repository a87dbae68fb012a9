"""The cache of compiled modules under a real server: damaged, forbidden, full, and shared by processes."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import running
from tests.support import guests
from tests.support.config import guest

HELLO_SITE = guest("/hello", "hello")


def hello_directory(directory: Path) -> Path:
    """A directory with a modules.toml and its one guest."""
    (directory / "hello.wat").write_text(guests.HELLO)
    (directory / "modules.toml").write_text(HELLO_SITE)
    return directory


def serves_hello(directory: Path, cache: Path, preexec: Callable[[], None] | None = None) -> str:
    """Starts a server, requests hello, ends the server; returns its log."""
    with running(directory, HELLO_SITE, cache=cache, preexec=preexec) as server:
        assert server.get("/hello").text == "hello world\n"
    assert "Traceback" not in server.log
    return server.log


def only(directory: Path, pattern: str) -> Path:
    """The only file that matches."""
    (path,) = directory.glob(pattern)
    return path


def flip_a_byte(artefact: Path, _note: Path) -> None:
    data = bytearray(artefact.read_bytes())
    data[len(data) // 2] ^= 1
    artefact.write_bytes(data)


def take_another(artefact: Path, note: Path, *, with_note: bool) -> None:
    other = artefact.parent.parent / "other"
    other.mkdir()
    (other / "hello.wat").write_text(guests.says(guests.CONTENT_TYPE + b"not hello\n"))
    serve_once = [sys.executable, "-m", "wagi_gateway", "check", "modules.toml", "--cache-dir", "cache"]
    (other / "modules.toml").write_text(HELLO_SITE)
    subprocess.run(serve_once, cwd=other, check=True, capture_output=True)
    shutil.copy(only(other, "cache/*.cwasm"), artefact)
    if with_note:
        shutil.copy(only(other, "cache/*.json"), note)


CORRUPTIONS: dict[str, Callable[[Path, Path], object]] = {
    "truncated": lambda artefact, _: os.truncate(artefact, artefact.stat().st_size // 2),
    "empty": lambda artefact, _: os.truncate(artefact, 0),
    "flipped byte": flip_a_byte,
    "garbage": lambda artefact, _: artefact.write_bytes(os.urandom(4096)),
    "garbage with a note": lambda artefact, note: (
        artefact.write_bytes(b"garbage"),
        note.write_text(json.dumps({"sha256": hashlib.sha256(b"garbage").hexdigest(), "identity": []})),
    ),
    "another module": lambda artefact, note: take_another(artefact, note, with_note=False),
    "another module and its note": lambda artefact, note: take_another(artefact, note, with_note=True),
    "note not JSON": lambda _, note: note.write_text("{"),
    "note not UTF-8": lambda _, note: note.write_bytes(b"\xff"),
    "note of another shape": lambda _, note: note.write_text('{"identity": 7}'),
    "no note": lambda _, note: note.unlink(),
    "no artefact": lambda artefact, _: artefact.unlink(),
    "writable by others": lambda artefact, _: artefact.chmod(0o666),
}


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the compiled hello guest."""
    directory = hello_directory(tmp_path_factory.mktemp("valid"))
    check(directory, "--cache-dir", str(directory / "cache"))
    return directory / "cache"


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_a_corrupt_cache_entry_is_compiled_again(
    tmp_path: Path, valid: Path, corrupt: Callable[[Path, Path], object]
) -> None:
    directory, cache = hello_directory(tmp_path), tmp_path / "cache"
    shutil.copytree(valid, cache)
    artefact, note = only(cache, "*.cwasm"), only(cache, "*.json")
    corrupt(artefact, note)
    serves_hello(directory, cache)
    digest = hashlib.sha256(artefact.read_bytes()).hexdigest()
    assert json.loads(note.read_text())["sha256"] == digest
    assert artefact.stat().st_mode & 0o777 == 0o600


def check(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `wagi-gateway check` on a directory's modules.toml."""
    command = [sys.executable, "-m", "wagi_gateway", "check", str(directory / "modules.toml"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)


def obey_modes() -> None:
    """Makes root obey permission bits: drops CAP_DAC_OVERRIDE for the next exec."""
    import ctypes

    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP


def limit_files() -> None:
    """Limits files to 4 KiB, like a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_without_a_writable_cache_the_server_serves(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o500)
    assert "is not writable" in serves_hello(hello_directory(tmp_path), cache, obey_modes)
    assert not list(cache.iterdir())


def test_with_a_full_disk_the_server_serves(tmp_path: Path) -> None:
    assert "the cache cannot be written" in serves_hello(hello_directory(tmp_path), tmp_path / "cache", limit_files)
    assert not list((tmp_path / "cache").glob("*.cwasm"))


def test_a_body_that_does_not_fit_the_disk_is_turned_away(tmp_path: Path, cache: Path) -> None:
    directory = hello_directory(tmp_path)
    check(directory, "--cache-dir", str(cache))
    config = f'[server]\nbody_memory = "1KiB"\n{HELLO_SITE}'
    with running(directory, config, cache=cache, preexec=limit_files) as server:
        assert server.post("/hello", b"x" * 1024).status_code == 200
        assert server.post("/hello", b"x" * 100_000).status_code == 503
        assert server.get("/hello").status_code == 200
        assert "Traceback" not in server.log


def test_a_cache_directory_that_is_no_directory_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    assert "WARNING cache: " in serves_hello(hello_directory(tmp_path), tmp_path / "cache")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_cache_directory_of_another_owner_is_not_used(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    os.chown(cache, 65534, 65534)
    assert "belongs to user 65534" in serves_hello(hello_directory(tmp_path), cache)
    assert not list(cache.iterdir())


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_cache_directory_others_can_write_is_not_used(tmp_path: Path, mode: int) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(mode)
    assert f"writable by others (mode {mode:04o})" in serves_hello(hello_directory(tmp_path), cache)
    assert not list(cache.iterdir())


def test_a_cache_directory_from_which_nothing_may_be_executed_is_not_used(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "noexec,mode=0700", "tmpfs", str(cache)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        assert f"WARNING cache: {cache} is mounted noexec" in serves_hello(hello_directory(tmp_path), cache)
        assert not list(cache.iterdir())
    finally:
        subprocess.run(["umount", str(cache)], check=True)


LOAD = """
import sys
from contextlib import contextmanager
from pathlib import Path
from wagi_gateway.config.file import read_config
from wagi_gateway.site.load import load

@contextmanager
def compiling(source):
    print("compiled", source.name)
    yield

load(read_config(Path(sys.argv[1]), {"cache": {"directory": sys.argv[2]}}), compiling)
print("loaded")
"""


def test_processes_that_start_together_compile_once(tmp_path: Path) -> None:
    directory = hello_directory(tmp_path)
    command = [sys.executable, "-c", LOAD, str(directory / "modules.toml"), str(tmp_path / "cache")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    output = "".join(process.communicate(timeout=30)[0] for process in processes)
    assert (output.count("compiled"), output.count("loaded")) == (1, 4)
