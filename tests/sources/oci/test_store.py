"""The store: reading, damage, use times, pruning."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wagi_gateway.sources.directory import STALE
from wagi_gateway.sources.oci.errors import Unreachable
from wagi_gateway.sources.oci.store import Store, StoredImage

TAG = "ghcr.io/team/hello:1"


def keep(
    store: Store, module: bytes, *, digest: str = "", age: float = 0.0, tag: str = "", indexes: tuple[bytes, ...] = ()
) -> StoredImage:
    """Stores a module that was last used `age` seconds ago."""
    manifest = b"manifest of " + module + digest.encode()
    sha256 = hashlib.sha256(manifest).hexdigest()
    image = StoredImage(
        digest=digest or f"sha256:{sha256}",
        manifest=sha256,
        indexes=tuple(hashlib.sha256(index).hexdigest() for index in indexes),
        media_type="application/vnd.oci.image.manifest.v1+json",
        module=hashlib.sha256(module).hexdigest(),
        size=len(module),
        reference=TAG,
        pulled=1.5,
    )
    store.keep(image, module, (*indexes, manifest))
    if tag:
        store.remember(tag, image.digest)
    then = time.time() - age
    for path in files(store):
        if image.digest.replace(":", "-") in path.name or path.name in (image.manifest, image.module):
            os.utime(path, (then, then))
    return image


def files(store: Store) -> list[Path]:
    """All files of the store."""
    return sorted(path for path in store.directory.rglob("*") if path.is_file())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")


@pytest.mark.parametrize("digest", ["", "sha256:" + "0" * 64, "sha512:" + "0" * 128], ids=["own", "index", "sha512"])
def test_a_module_is_found_again(store: Store, digest: str) -> None:
    image = keep(store, b"module", digest=digest, tag=TAG)
    again = Store(store.directory)
    assert again.tag(TAG) == image.digest
    assert again.find(image.digest) == image
    assert again.blob(image.module, image.size) == b"module"
    assert again.blob(image.manifest, 1000)
    assert again.path(image.module).read_bytes() == b"module"


def test_a_tag_moves(store: Store) -> None:
    one, two = keep(store, b"one", tag=TAG), keep(store, b"two", tag=TAG)
    assert store.tag(TAG) == two.digest
    assert store.tag("ghcr.io/team/hello:2") is None
    assert store.find(one.digest) == one
    assert [entry.tags for entry in store.entries()] in ([(TAG,), ()], [(), (TAG,)])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: os.truncate(path, path.stat().st_size + 1),
    "one bit": flip_a_bit,
    "garbage": lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
    "huge": lambda path: os.truncate(path, 1 << 40),
    "deep": lambda path: path.write_bytes(b"[" * 60_000),
    "writable by others": lambda path: path.chmod(0o666),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_blob_is_not_served(store: Store, damage: Callable[[Path], object]) -> None:
    image = keep(store, b"module")
    damage(store.path(image.module))
    assert store.blob(image.module, image.size) is None
    keep(store, b"module")
    assert store.blob(image.module, image.size) == b"module"


@pytest.mark.parametrize("folder", ["images", "tags"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_record_leads_nowhere_else(store: Store, damage: Callable[[Path], object], folder: str) -> None:
    image = keep(store, b"module", tag=TAG)
    other = keep(store, b"other", tag="ghcr.io/team/other:1")
    (path,) = (path for path in files(store) if path.parent.name == folder and is_about(path, image.digest))
    damage(path)
    found = store.find(store.tag(TAG) or "")
    if found is not None:  # the flipped bit was in text without effect
        assert found.module == image.module or store.blob(found.module, found.size) is None
    assert store.find(other.digest) == other
    store.entries()
    store.prune()
    keep(store, b"module", tag=TAG)
    assert store.find(store.tag(TAG) or "") == image


def is_about(path: Path, digest: str) -> bool:
    """Whether a record names a digest."""
    return bool(json.loads(path.read_text())["digest"] == digest)


def test_a_record_in_the_place_of_another_is_not_used(store: Store) -> None:
    one, two = keep(store, b"one", tag=TAG), keep(store, b"two", tag="ghcr.io/team/other:1")
    for folder in ("images", "tags"):
        first, second = sorted((store.directory / folder).iterdir())
        first.write_bytes(second.read_bytes())
    tags = [store.tag(tag) for tag in (TAG, "ghcr.io/team/other:1")]
    images = [store.find(image.digest) for image in (one, two)]
    assert tags.count(None) == 1
    assert images.count(None) == 1
    assert len(store.entries()) == 1


def test_entries_are_sorted_by_their_last_use(store: Store) -> None:
    old, new = keep(store, b"old", age=100, tag=TAG), keep(store, b"new", age=50)
    assert [entry.image for entry in store.entries()] == [new, old]
    (first, second) = store.entries()
    assert (first.tags, second.tags) == ((), (TAG,))
    assert second.used == pytest.approx(time.time() - 100, abs=5)
    assert store.find(old.digest)
    assert [entry.image for entry in store.entries()] == [old, new], "it was used"


def test_prune_by_age(store: Store) -> None:
    old, new = keep(store, b"old", age=100, tag=TAG), keep(store, b"new", age=10)
    assert [entry.image for entry in store.prune(max_age=50)] == [old]
    assert [entry.image for entry in store.entries()] == [new]
    assert store.tag(TAG) is None
    assert len(files(store)) == 3
    assert store.prune(max_age=50) == []


def test_prune_keeps_the_indexes_on_the_way(store: Store) -> None:
    shared = (b"shared", b"inner")
    old = keep(store, b"old", digest=f"sha256:{'0' * 64}", age=100, indexes=(b"outer", *shared[1:]))
    new = keep(store, b"new", digest=f"sha256:{'1' * 64}", indexes=shared)
    for path in files(store):
        os.utime(path, (0, time.time() - STALE - 1) if path.parent.name == "sha256" else None)
    os.utime(store.directory / f"images/{old.digest.replace(':', '-')}.json", (0, 0))
    assert [entry.image for entry in store.prune(max_age=50)] == [old]
    assert all(store.blob(index, 100) for index in new.indexes)
    assert store.blob(old.indexes[0], 100) is None


def test_what_is_in_use_is_not_pruned(store: Store) -> None:
    used, old = keep(store, b"used", age=100), keep(store, b"old", age=100)
    store.touch([used.digest, "sha256:" + "0" * 64])
    assert [entry.image for entry in store.prune(max_age=50)] == [old]
    assert store.blob(used.module, 10) == b"used"


def test_prune_by_size(store: Store) -> None:
    images = [keep(store, bytes([number]) * 10, age=number) for number in range(4)]
    assert [entry.image for entry in store.prune(max_size=25)] == images[2:]
    assert [store.blob(image.module, 10) is not None for image in images] == [True, True, False, False]
    assert [entry.image for entry in store.prune(max_size=0)] == images[:2]
    assert files(store) == []


def test_a_module_that_two_images_share_counts_once_and_stays(store: Store) -> None:
    new, old = (keep(store, b"module", digest=f"sha256:{digit * 64}", age=int(digit)) for digit in "12")
    assert store.prune(max_size=6) == []
    assert [entry.image for entry in store.prune(max_age=1.5)] == [old]
    assert store.blob(new.module, 6) == b"module"


def test_prune_removes_what_leads_nowhere_unless_it_is_new(store: Store) -> None:
    image, kept = keep(store, b"module", tag=TAG), keep(store, b"kept")
    store.path(image.module).unlink()
    (store.directory / "images/x.json").write_text("{")
    (store.directory / "blobs/sha256/.new-x").write_text("")
    before = files(store)
    assert store.prune() == []
    assert files(store) == before, "a pull may be writing them"
    for path in before:
        os.utime(path, (0, time.time() - STALE - 1))
    assert store.prune() == []
    assert [entry.image for entry in store.entries()] == [kept]
    assert len(files(store)) == 3


def test_prune_of_a_store_that_is_gone(store: Store) -> None:
    store.directory.rmdir()
    assert store.prune(max_age=0, max_size=0) == []
    assert store.entries() == []


def test_a_lock_is_held_by_one_thread(store: Store) -> None:
    import threading

    order: list[str] = []
    has_begun = threading.Event()

    def second() -> None:
        has_begun.set()
        with store.lock("key"):
            order.append("second")

    thread = threading.Thread(target=second)
    with store.lock("key"), store.lock("another key"):
        thread.start()
        has_begun.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_wait_for_a_lock_can_be_given_up(store: Store) -> None:
    def look() -> None:
        looks.append(time.monotonic())
        if len(looks) == 3:
            raise Unreachable("it was given up")

    looks: list[float] = []
    start = time.monotonic()
    with store.lock("key"), pytest.raises(Unreachable, match="given up"), store.lock("key", look):
        raise AssertionError
    assert looks[-1] - start < 5


def test_where_nothing_can_be_locked_work_goes_on(store: Store) -> None:
    (store.directory / "locks").write_text("")
    with store.lock("key"):
        pass
