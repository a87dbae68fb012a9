"""Images and artefacts by other tools: each contains the module, byte for byte."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.support.registry import PASSWORD, USERNAME, Registry, installed
from tests.support.repositories import USER, layer_of, module, own_home, repository  # noqa: F401
from wagi_gateway.sources.oci.image import fetch_module, find_image
from wagi_gateway.sources.oci.repository import Form

pytestmark = pytest.mark.usefixtures("own_home")
MAX_SIZE = 1 << 20
OCI = "application/vnd.oci.image.manifest.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
PLAIN = ("--src-tls-verify=false", "--dest-tls-verify=false")
_seeds = count(1000)


def run(program: str, *arguments: str, directory: Path) -> str:
    """Runs a program; returns its output. A failure fails the test with the output."""
    (directory / "auth.json").write_text("{}")
    environment = os.environ | {"TMPDIR": str(directory), "REGISTRY_AUTH_FILE": str(directory / "auth.json")}
    done = subprocess.run([installed(program), *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Builder:
    """buildah with a store of its own; no user needs `buildah unshare` for these commands."""

    directory: Path

    def __call__(self, *arguments: str) -> str:
        """Runs buildah."""
        place = ("--root", f"{self.directory}/root", "--runroot", f"{self.directory}/run", "--storage-driver", "vfs")
        return run("buildah", *place, *arguments, directory=self.directory)

    def image(self, form: str = "oci", platform: str = "wasip1/wasm", path: str = "/hello.wasm") -> tuple[str, bytes]:
        """Builds a scratch image with one module; returns the image's name and the module.

        Every image has its own bytes, because buildah records the compression under which a registry has known bytes.
        """
        data = module(next(_seeds))
        file = self.directory / "hello.wasm"
        file.write_bytes(data)
        name = f"image-{next(_seeds)}"
        os_name, _, architecture = platform.partition("/")
        container = self("from", "scratch")
        self("config", "--os", os_name, "--arch", architecture, "--entrypoint", f'["{path}"]', container)
        self("copy", container, str(file), path)
        self("commit", "--rm", "--format", form, container, name)
        return f"localhost/{name}", data

    def pushed(self, registry: Registry, repository: str, *options: str, form: str = "oci", **image: str) -> bytes:
        """Builds and pushes an image; returns its module."""
        name, data = self.image("docker" if form == "v2s2" else "oci", **image)
        self(
            "push", "--tls-verify=false", "--format", form, *options, name, f"docker://{registry.address}/{repository}"
        )
        return data


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    """One store for the images of all tests."""
    builder = Builder(tmp_path_factory.mktemp("buildah"))
    yield builder
    builder("rmi", "--all", "--force")


def skopeo(directory: Path, *arguments: str) -> str:
    """Runs skopeo."""
    return run("skopeo", *arguments, directory=directory)


def pulled(registry: Registry, name: str) -> tuple[bytes, str, str]:
    """Pulls an image; returns the module, and the media types of manifest and layer."""
    with repository(registry, name) as own:
        image = find_image(own, *own.resolve(own.reference.version))
        data = fetch_module(own, image, MAX_SIZE, lambda _digest, _size: None, lambda _done, _total: None)
        return data, image.manifest.media_type, image.manifest.layers[0].media_type


@pytest.mark.parametrize(
    ("form", "options", "manifest", "layer"),
    [
        ("oci", (), OCI, "application/vnd.oci.image.layer.v1.tar+gzip"),
        ("v2s2", (), DOCKER, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        ("oci", ("--compression-format", "zstd"), OCI, "application/vnd.oci.image.layer.v1.tar+zstd"),
        ("oci", ("--compression-format", "zstd:chunked"), OCI, "application/vnd.oci.image.layer.v1.tar+zstd"),
    ],
    ids=["oci", "docker", "zstd", "zstd-chunked"],
)
def test_images_by_buildah(
    registry: Registry, buildah: Builder, form: str, options: tuple[str, ...], manifest: str, layer: str
) -> None:
    name = f"buildah/{form}-{len(options)}{options[-1].replace(':', '-') if options else ''}:1"
    data = buildah.pushed(registry, name, *options, form=form)
    assert pulled(registry, name) == (data, manifest, layer)


def test_an_image_without_compression(registry: Registry, buildah: Builder, tmp_path: Path) -> None:
    data = buildah.pushed(registry, "plain/gzip:1")
    layout = f"oci:{tmp_path}/layout:1"
    source, target = f"docker://{registry.address}/plain/gzip:1", f"docker://{registry.address}/plain/tar:1"
    skopeo(tmp_path, "copy", "--src-tls-verify=false", "--dest-decompress", source, f"dir:{tmp_path}/dir")
    skopeo(tmp_path, "copy", "--dest-oci-accept-uncompressed-layers", f"dir:{tmp_path}/dir", layout)
    skopeo(tmp_path, "copy", "--preserve-digests", "--dest-tls-verify=false", layout, target)
    assert pulled(registry, "plain/tar:1") == (data, OCI, "application/vnd.oci.image.layer.v1.tar")


def test_a_module_deep_in_an_image(registry: Registry, buildah: Builder) -> None:
    data = buildah.pushed(registry, "deep:1", path="/usr/share/app/hello.wasm")
    assert pulled(registry, "deep:1")[0] == data


@pytest.mark.parametrize("form", ["oci", "v2s2"])
@pytest.mark.parametrize("platform", ["wasip1/wasm", "wasi/wasm", "wasi/wasm32", "linux/wasm"])
def test_indexes_by_buildah(
    registry: Registry, buildah: Builder, form: str, platform: str, request: pytest.FixtureRequest
) -> None:
    base = f"index/{form}-{platform.replace('/', '-')}"
    buildah.pushed(registry, f"{base}/native:1", platform="linux/amd64")
    data = buildah.pushed(registry, f"{base}/wasm:1", platform=platform)
    name = f"localhost/index-{next(_seeds)}"
    buildah("manifest", "create", name)
    request.addfinalizer(lambda: buildah("manifest", "rm", name))
    for part in ("native", "wasm"):
        buildah("manifest", "add", "--tls-verify=false", name, f"docker://{registry.address}/{base}/{part}:1")
    target = f"docker://{registry.address}/{base}/both:1"
    buildah("manifest", "push", "--all", "--tls-verify=false", "--format", form, name, target)
    assert pulled(registry, f"{base}/both:1")[0] == data


@pytest.mark.parametrize("form", ["cncf", "wasm-to-oci"])
@pytest.mark.parametrize(
    "by_way_of", ["docker://{registry}/copy/{form}-way:1", "oci:{directory}/way:1", "dir:{directory}/way"]
)
def test_artefacts_copied_by_skopeo(registry: Registry, form: Form, by_way_of: str, tmp_path: Path) -> None:
    """A copy has the same manifest, and so the same digest."""
    data = module(next(_seeds))
    kind = by_way_of.partition(":")[0]
    with repository(registry, f"copy/{form}-{kind}:1") as own:
        digest = own.push_module(data, form=form)
    source = f"docker://{registry.address}/copy/{form}-{kind}"
    way = by_way_of.format(registry=registry.address, form=form, directory=tmp_path)
    skopeo(tmp_path, "copy", *PLAIN, f"{source}:1", way)
    skopeo(tmp_path, "copy", *PLAIN, way, f"{source}:2")
    with repository(registry, f"copy/{form}-{kind}:2") as own:
        assert own.digest_of("2") == digest
    assert pulled(registry, f"copy/{form}-{kind}:2")[0] == data


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_images_copied_by_skopeo(registry: Registry, buildah: Builder, form: str, tmp_path: Path) -> None:
    """A copy is converted between Docker's and OCI's formats."""
    name, data = buildah.image()
    place = f"containers-storage:[vfs@{buildah.directory}/root+{buildah.directory}/run]{name}"
    target = f"docker://{registry.address}/skopeo/{form}:1"
    skopeo(tmp_path, "copy", "--dest-tls-verify=false", "--format", form, place, target)
    assert pulled(registry, f"skopeo/{form}:1")[:2] == (data, OCI if form == "oci" else DOCKER)


def test_an_image_and_an_artefact_in_a_private_registry(
    private_registry: Registry, registry: Registry, buildah: Builder, tmp_path: Path
) -> None:
    """skopeo stores images with TLS and a password, and the gateway pulls them with both."""
    assert private_registry.ca_file
    data = buildah.pushed(registry, "to-private:1")
    target = ("--dest-cert-dir", str(private_registry.ca_file.parent), "--dest-creds", f"{USERNAME}:{PASSWORD}")
    source = ("--src-tls-verify=false", f"docker://{registry.address}/to-private:1")
    skopeo(tmp_path, "copy", *target, *source, f"docker://{private_registry.address}/image:1")
    with repository(private_registry, "image:1", USER) as own:
        image = find_image(own, *own.resolve("1"))
        assert fetch_module(own, image, MAX_SIZE, lambda *_: None, lambda *_: None) == data
        assert layer_of(own).media_type.endswith("gzip")
