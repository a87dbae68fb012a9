"""The store with real processes and a real registry: damaged, forbidden, full, and shared by processes."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.sources.oci.conftest import User, module
from tests.support.fault_proxy import FaultProxy, stalled
from tests.support.registry import Registry
from wagi_gateway.config.settings import RegistryConfig
from wagi_gateway.config.values import PullPolicy
from wagi_gateway.sources.oci.errors import ImageNotFound, Unreachable

ONE = module("one", 10_000)

PULL = """
import dataclasses, json, sys
from pathlib import Path
from wagi_gateway.sources.oci.credentials import CredentialSource
from wagi_gateway.sources.oci.puller import Puller
from wagi_gateway.config.image_reference import ImageReference
from wagi_gateway.sources.oci.store import Store

store, policy, name = sys.argv[1:]
credentials = CredentialSource([], {"HOME": "/nonexistent"}, {}, Path())
pulled = Puller(Store(Path(store)), {}, credentials, Path()).pull(ImageReference.parse(name), policy, 1 << 20)
print(json.dumps([pulled.digest, pulled.is_new, pulled.is_stored, *pulled.warnings]))
"""


def command(store: Path, policy: str, reference: object) -> list[str]:
    """A command that pulls and prints the result."""
    return [sys.executable, "-c", PULL, str(store), policy, str(reference)]


def pull(store: Path, policy: str, reference: object, preexec: Callable[[], None] | None = None) -> list[object]:
    """Pulls in a process of its own; returns digest, whether it is new, whether it is stored, and warnings."""
    process = subprocess.run(
        command(store, policy, reference),
        capture_output=True,
        text=True,
        timeout=30,
        preexec_fn=preexec,
    )
    assert process.returncode == 0, process.stderr
    answer: list[object] = json.loads(process.stdout)
    return answer


def obey_modes() -> None:
    """Makes root obey permission bits: drops CAP_DAC_OVERRIDE for the next exec."""
    import ctypes

    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP


def limit_files() -> None:
    """Limits files to 4 KiB, like a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


@pytest.mark.parametrize("policy", ["always", "if-not-present"])
def test_processes_that_start_together_download_once(user: User, registry: Registry, policy: str) -> None:
    user.push(registry.address, ONE)
    with FaultProxy(registry.address) as proxy:
        reference = user.reference(proxy.address)
        store = user.home / "store"
        processes = [
            subprocess.Popen(command(store, policy, reference), stdout=subprocess.PIPE, text=True) for _ in range(10)
        ]
        answers = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
        assert len(proxy.downloads) == 1
    assert len({digest for digest, *_ in answers}) == 1
    assert sorted(is_new for _, is_new, *_ in answers) == [False] * 9 + [True]
    assert all(is_stored and not warnings for _, _, is_stored, *warnings in answers)


def test_a_download_that_is_killed_blocks_no_other(user: User, registry: Registry) -> None:
    user.push(registry.address, ONE)
    with FaultProxy(registry.address) as proxy:
        proxy.fault(lambda request: request.is_blob, stalled, times=1)
        reference = user.reference(proxy.address)
        first = subprocess.Popen(command(user.home / "store", "always", reference))
        wait_until(lambda: len(proxy.downloads) == 1)
        second = subprocess.Popen(command(user.home / "store", "always", reference), stdout=subprocess.PIPE, text=True)
        wait_until(lambda: len([request for request in proxy.received if request.is_manifest]) == 2)
        assert second.poll() is None
        assert len(proxy.downloads) == 1, "it waits for the first"
        first.kill()
        first.wait()
        assert json.loads(second.communicate(timeout=30)[0])[1:] == [True, True]
    assert len(user.files()) == 4


@pytest.mark.parametrize("part", [".", "blobs", "blobs/sha256", "images", "tags", "locks"])
def test_what_is_deleted_comes_back(user: User, registry: Registry, part: str) -> None:
    user.push(registry.address, ONE)
    user.pull(registry.address)
    before = user.files()
    puller = user.puller()
    shutil.rmtree(user.home / "store" / part)
    pulled = puller.pull(user.reference(registry.address), "if-not-present", 1 << 20)
    assert (pulled.data, pulled.is_stored) == (ONE, True)
    assert user.files() == before


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_another(path: Path) -> None:
    path.write_bytes(module("two", len(ONE)))


def give_away(path: Path) -> None:
    os.chown(path, 65534, 65534)


is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
DAMAGES = [
    pytest.param(lambda path: os.truncate(path, 100), id="truncated"),
    pytest.param(flip_a_byte, id="one bit"),
    pytest.param(replace_by_another, id="another module"),
    pytest.param(lambda path: path.unlink(), id="deleted"),
    pytest.param(lambda path: path.chmod(0o666), id="writable by others"),
    pytest.param(give_away, id="another owner", marks=is_root),
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("policy", ["always", "if-not-present"])
def test_a_damaged_module_is_downloaded_again(
    user: User, registry: Registry, policy: PullPolicy, damage: Callable[[Path], None]
) -> None:
    user.push(registry.address, ONE)
    path = user.pull(registry.address).path
    damage(path)
    pulled = user.pull(registry.address, policy)
    assert (pulled.data, pulled.is_new) == (ONE, True)
    assert pulled.warnings == (f"{path} is gone or was changed, so it is not used",)
    assert path.read_bytes() == ONE
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_uid == os.geteuid()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_module_is_not_served_by_never(
    user: User, registry: Registry, damage: Callable[[Path], None]
) -> None:
    user.push(registry.address, ONE)
    damage(user.pull(registry.address).path)
    with pytest.raises(
        ImageNotFound, match='is gone or was changed, so it is not used, and the pull policy is "never"'
    ):
        user.pull(registry.address, "never")


def test_a_damaged_module_is_not_served_without_a_registry(user: User, registry: Registry) -> None:
    user.push(registry.address, ONE)
    with FaultProxy(registry.address) as proxy:
        flip_a_byte(user.pull(proxy.address).path)
        user.tables[proxy.address] = RegistryConfig(insecure=False)  # a registry without TLS is not retried
        with pytest.raises(Unreachable):
            user.pull(proxy.address, "always")


def test_a_read_only_store_that_is_warm_serves(user: User, registry: Registry) -> None:
    user.push(registry.address, ONE)
    user.pull(registry.address)
    for path in [user.home / "store", *(user.home / "store").rglob("*")]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    for policy in ("never", "if-not-present", "always"):
        assert pull(user.home / "store", policy, user.reference(registry.address), obey_modes)[1:] == [False, True]


def test_a_read_only_store_that_is_cold_is_gone_without(user: User, registry: Registry) -> None:
    user.push(registry.address, ONE)
    (user.home / "store").chmod(0o500)
    _, *answer = pull(user.home / "store", "always", user.reference(registry.address), obey_modes)
    assert answer[:2] == [True, False]
    assert f"the store {user.home}/store cannot be written (Permission denied); free space" in str(answer[2])
    assert list((user.home / "store").iterdir()) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 KiB."""
    (tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k,mode=0700", "tmpfs", str(tmp_path / "disk")]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here; test_a_file_that_may_not_grow does nearly the same")
    yield tmp_path / "disk"
    subprocess.run(["umount", str(tmp_path / "disk")], check=True)


def test_a_full_disk_is_gone_without(user: User, registry: Registry, tiny_disk: Path) -> None:
    user.push(registry.address, ONE)
    _, *answer = pull(tiny_disk, "always", user.reference(registry.address))
    assert answer[:2] == [True, False]
    assert "cannot be written (No space left on device); free space" in str(answer[2])
    assert [path for path in tiny_disk.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_a_file_that_may_not_grow(user: User, registry: Registry) -> None:
    user.push(registry.address, ONE)
    _, *answer = pull(user.home / "store", "always", user.reference(registry.address), limit_files)
    assert answer[:2] == [True, False]
    assert "cannot be written (File too large); free space" in str(answer[2])
    assert user.files() == set()


def test_a_full_disk_does_not_hinder_a_warm_store(user: User, registry: Registry) -> None:
    user.push(registry.address, ONE)
    user.pull(registry.address)
    user.push(registry.address, module("two", 10_000))
    reference = user.reference(registry.address)
    for policy, answer in (("if-not-present", [False, True]), ("always", [True, False])):
        assert pull(user.home / "store", policy, reference, limit_files)[1:3] == answer
    assert user.pull(registry.address, "never").data == ONE, "the tag leads to what is there"
