"""Pulls under the policies of Kubernetes, from a real registry."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.publishing import publish, says
from tests.support.registry import Registry, running_registry
from wagi_gateway.node.pods.image_pull import ImagePuller, ImagePullFailed, PulledImage, RegistryAccess
from wagi_gateway.node.pods.pull_secrets import PullSecrets

NONE = PullSecrets((), ())


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        publish(registry, "hello:1", says("1"))
        yield registry


def pull(directory: Path, image: str, policy: str | None, *, max_module: int = 2**20) -> PulledImage:
    async def go() -> PulledImage:
        return await ImagePuller(RegistryAccess(cache=directory, max_module=max_module)).pull(image, policy, NONE)

    return asyncio.run(go())


def test_an_image_is_pinned_and_downloaded_once(registry: Registry, tmp_path: Path) -> None:
    image = f"{registry.address}/hello:1"
    first = pull(tmp_path, image, None)
    assert first.was_downloaded
    assert first.pinned.startswith(f"{registry.address}/hello@sha256:")
    again = [pull(tmp_path, image, policy) for policy in ("IfNotPresent", "Always", "Never")]
    assert [(one.pinned, one.was_downloaded) for one in again] == [(first.pinned, False)] * 3


@pytest.mark.parametrize(
    ("name", "policy", "reason"),
    [
        ("hello:absent", None, "ErrImagePull"),
        ("hello:1", "Never", "ErrImageNeverPull"),
        ("UPPER", None, "InvalidImageName"),
    ],
)
def test_the_reason_of_a_failure(registry: Registry, tmp_path: Path, name: str, policy: str, reason: str) -> None:
    with pytest.raises(ImagePullFailed) as caught:
        pull(tmp_path, f"{registry.address}/{name}", policy)
    assert caught.value.reason == reason


@pytest.mark.parametrize("by_digest", [False, True])
def test_always_needs_the_registry(tmp_path: Path, by_digest: bool) -> None:
    """Which decides whether the Pod's credentials may have the image, whoever has told its author the digest."""
    with running_registry(tmp_path / "registry") as gone:
        publish(gone, "hello:1", says("1"))
        image = f"{gone.address}/hello:1"
        pinned = pull(tmp_path / "cache", image, "Always").pinned
        image = pinned if by_digest else image
        assert not pull(tmp_path / "cache", image, "Always").was_downloaded
    with pytest.raises(ImagePullFailed, match="cannot be reached"):
        pull(tmp_path / "cache", image, "Always")
    assert not pull(tmp_path / "cache", image, "IfNotPresent").was_downloaded


def test_a_store_of_others_is_refused(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry").chmod(0o777)
    with pytest.raises(ImagePullFailed, match="store"):
        pull(tmp_path, f"{registry.address}/hello:1", None)


def test_a_module_has_a_bound(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ImagePullFailed, match="bytes"):
        pull(tmp_path, f"{registry.address}/hello:1", None, max_module=10)


def test_a_store_that_keeps_nothing(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wagi_gateway.sources.oci.store import Store

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "keep", full)
    with pytest.raises(ImagePullFailed, match="No space left"):
        pull(tmp_path, f"{registry.address}/hello:1", None)
