"""No guest may change what the gateway trusts: volumes that guests write to, and directories that everybody reads."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.config import config, module
from wagi_gateway.config.file import read_config
from wagi_gateway.site import trusted
from wagi_gateway.site.findings import Findings
from wagi_gateway.site.mounts import Mounts
from wagi_gateway.site.trusted import TrustedFile, TrustedFiles, names, trusted_files, warn_of_exchangeable
from wagi_gateway.site.volumes import Volumes, open_volumes

POD = """
apiVersion: v1
kind: Pod
metadata:
  name: p
  annotations:
    alpha.wagi.krustlet.dev/modules: '{{"web": {{"route": "/x"}}}}'
spec:
  nodeSelector: {{kubernetes.io/arch: wasm32-wagi}}
  containers:
    - name: web
      image: ghcr.io/team/web:1
      volumeMounts: [{{name: all, mountPath: /data}}]
  volumes:
    - name: all
      hostPath: {{path: {base}}}
"""
ADVICE = "set read_only = true, or name another directory"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the modules.toml, with directories beside it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    for name in ("etc", "srv/sub", "lib", "www/deep", "home/.docker"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lib/m.wasm").touch()
    return tmp_path / "etc"


def problems(
    base: Path,
    volume: object,
    *,
    reference: str = "../lib/m.wasm",
    cache: str | None = None,
    logs: str | None = None,
    env_file: str | None = None,
    **settings: object,
) -> list[str]:
    """The problems of a configuration whose one module has a volume."""
    path = base / "modules.toml"
    path.write_text(config(module("/m", reference, volumes={"/data": volume}), **settings))
    file = replace(read_config(path), env_files=(base / env_file,) if env_file else ())
    assert file.problems == ()
    findings = Findings("file")
    files = TrustedFiles(trusted_files(file, base / cache if cache else None, base / logs if logs else None))
    volumes = Volumes(base)
    try:
        opened = open_volumes(file, volumes, files, findings)
    finally:
        volumes.close()
    assert bool(opened[0]) == (not findings.problems)
    return [problem.what for problem in findings.problems]


REGISTRY = {"ghcr.io": {"username": "u", "password_file": "../srv/pw"}}
HELD: dict[str, tuple[str, dict[str, object], str]] = {
    "the configuration": (".", {}, "this file"),
    "the configuration, below": ("..", {}, "this file"),
    "everything": ("/", {}, "this file"),
    "by a detour": ("../srv/../etc", {}, "this file"),
    "module": ("../lib", {}, "the module "),
    "module, below": ("..", {"reference": "../lib/m.wasm"}, "this file and the module "),
    "module that is missing": ("../srv", {"reference": "../srv/none.wasm"}, "the module "),
    "env file": ("../srv", {"env_file": "../srv/env"}, "the env file "),
    "key": ("../srv", {"server": {"tls_cert": "c.pem", "tls_key": "../srv/k.pem"}}, "server.tls_key"),
    "certificate": ("../srv", {"server": {"tls_cert": "../srv/c.pem", "tls_key": "k.pem"}}, "server.tls_cert"),
    "socket": ("../srv", {"server": {"listen": "unix:../srv/s"}}, "server.listen"),
    "socket of the operator": ("../srv", {"admin": {"listen": "unix:../srv/s"}}, "admin.listen"),
    "authorities": ("../srv", {"outbound": {"ca_file": "../srv/ca"}}, "outbound.ca_file"),
    "auth_file": ("../srv", {"auth_file": "../srv/auth.json"}, "auth_file"),
    "password": ("../srv", {"registries": REGISTRY}, "registries.ghcr.io.password_file"),
    "credentials of docker login": ("../home", {"reference": "oci:ghcr.io/a/b:1"}, "the credentials "),
    "cache": ("../srv", {"cache": "../srv/cache"}, "the cache "),
    "cache itself": ("../srv", {"cache": "../srv"}, "the cache "),
    "logs": ("../srv", {"logs": "../srv/sub/logs"}, "the logs (log.directory) in "),
    "published directory": (
        "../www",
        {"static": [{"route": "/s/...", "directory": "../www/deep"}]},
        "the published directory ../www/deep",
    ),
    "memory of the gateway": ("/proc", {}, "the gateway's own memory"),
    "virtual environment": (sys.prefix, {}, "the gateway's own code in "),
    "interpreter": (str(Path("/proc/self/exe").resolve().parent), {}, "the gateway's own code in "),
    "standard library": (sysconfig.get_path("stdlib"), {}, "the gateway's own code in "),
    "the package": (str(Path(trusted.__file__).parents[2]), {}, "the gateway's own code in "),
}


@pytest.mark.parametrize(
    ("volume", "is_refused"),
    [("../srv", True), ("../srv/..", True), ("../srv/sub", False), ("../www", False)],
    ids=["itself", "above", "below", "beside"],
)
def test_a_writable_volume_holds_no_build_directory(base: Path, volume: str, is_refused: bool) -> None:
    build = {"command": ["make"], "directory": "../srv"}
    path = base / "modules.toml"
    path.write_text(config(module("/m", "../lib/m.wasm", volumes={"/data": volume}, build=build)))
    file = read_config(path)
    held = TrustedFiles(trusted_files(file, None, None)).held_by((base / volume).resolve())
    assert ("the directory ../srv of a build" in [one.name for one in held]) == is_refused


@pytest.mark.parametrize(("volume", "settings", "what"), HELD.values(), ids=HELD)
def test_a_writable_volume_holds_no_trusted_file(
    base: Path, volume: str, settings: dict[str, object], what: str
) -> None:
    """A guest that writes to modules.toml gives itself the host's directories at the next reload."""
    found = problems(base, volume, **settings)  # type: ignore[arg-type]
    assert len(found) == 1
    assert found[0].startswith(f'volumes."/data" = "{volume}": it holds {what}')
    assert found[0].endswith(f", which guests could change; {ADVICE}")
    assert problems(base, {"path": volume, "read_only": True}, **settings) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"cache": "../srv"}, "the cache "),
        ({"logs": "../srv"}, "the logs "),
    ],
)
def test_a_writable_volume_lies_in_no_directory_of_the_server(
    base: Path, settings: dict[str, object], what: str
) -> None:
    (found,) = problems(base, "../srv/sub", **settings)  # type: ignore[arg-type]
    assert f"it lies in {what}" in found


ACCEPTED: dict[str, tuple[object, dict[str, object]]] = {
    "beside": ("../srv", {}),
    "below the configuration": ("data", {}),
    "a name that begins alike": ("../srv", {"cache": "../srv2"}),
    "temporary": ({"temporary": "t"}, {}),
    "published itself": ("../www", {"static": [{"route": "/s/...", "directory": "../www"}]}),
    "inside of a published one": ("../www/deep", {"static": [{"route": "/s/...", "directory": "../www"}]}),
    "credentials that are not searched": ("../home", {}),
    "by way of it": ("../srv", {"auth_file": "../srv/../etc/auth.json"}),
}


@pytest.mark.parametrize(("volume", "settings"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_volume_that_is_accepted(base: Path, volume: object, settings: dict[str, object]) -> None:
    (base / "data").mkdir()
    assert problems(base, volume, **settings) == []  # type: ignore[arg-type]


def link_to_directory(base: Path) -> None:
    (base.parent / "srv").rename(base.parent / "moved")
    (base.parent / "srv").symlink_to("etc")


def link_in_the_volume(base: Path) -> None:
    (base.parent / "srv/m.wasm").symlink_to("../lib/m.wasm")
    (base.parent / "lib/m.wasm").touch()


def link_to_a_file_in_the_volume(base: Path) -> None:
    (base.parent / "srv/real.wasm").touch()
    (base.parent / "lib/m.wasm").unlink()
    (base.parent / "lib/m.wasm").symlink_to("../srv/real.wasm")


def hard_link(base: Path) -> None:
    os.link(base.parent / "lib/m.wasm", base.parent / "srv/sub/other-name")


LINKS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "the volume is a link": (link_to_directory, "../lib/m.wasm", "it holds this file"),
    "the module is a link in it": (link_in_the_volume, "../srv/m.wasm", "it holds the module "),
    "the module is a link into it": (link_to_a_file_in_the_volume, "../lib/m.wasm", "it holds the module "),
    "a directory on the way": (lambda _: None, "../srv/sub/../../lib/m.wasm", "it holds the module "),
    "hard link": (hard_link, "../lib/m.wasm", "it holds a hard link of the module "),
}


@pytest.mark.parametrize(("make", "reference", "what"), LINKS.values(), ids=LINKS)
def test_no_link_hides_a_trusted_file(base: Path, make: Callable[[Path], None], reference: str, what: str) -> None:
    make(base)
    (found,) = problems(base, "../srv", reference=reference)
    assert what in found


def test_a_hard_link_is_searched_in_so_many_entries(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hard_link(base)
    for number in range(5):
        (base.parent / "srv" / str(number)).touch()
    monkeypatch.setattr(trusted, "MAX_ENTRIES", 2)
    (found,) = problems(base, "../srv")
    assert "has several hard links" in found
    assert found.endswith("; copy the file, or set read_only = true")


def test_no_bind_mount_hides_a_trusted_file() -> None:
    mounts = Mounts("1 0 8:1 / / rw - ext4 a rw\n2 1 8:1 /srv/app /mnt/app rw - ext4 a rw\n")
    files = TrustedFiles([TrustedFile("key", Path("/mnt/app/key"))], mounts)
    for directory in ("/srv", "/srv/app", "/mnt", "/mnt/app", "/"):
        assert names(files.held_by(Path(directory))) == "key"
    for directory in ("/srv/other", "/mnt/app/sub"):
        assert files.held_by(Path(directory)) == []


def test_without_a_virtual_environment_the_packages_of_python_are_trusted(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = sysconfig.get_path("purelib")
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    (found,) = problems(base, packages)
    assert f"it holds the gateway's own code in {packages}, " in found


@pytest.mark.parametrize("variable", ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY", "TRACES_CLIENT_KEY"])
def test_a_file_of_opentelemetry_is_trusted_where_spans_are_sent(
    base: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{variable}", str(base.parent / "srv/pem"))
    (found,) = problems(base, "../srv", tracing={"export": True})
    assert f"it holds OTEL_EXPORTER_OTLP_{variable}=" in found
    assert problems(base, "../srv") == []


def test_a_message_names_the_first_files_of_many() -> None:
    files = [TrustedFile(name, Path("/")) for name in "abcdef"]
    assert [names(files[:count]) for count in (1, 2, 3, 4)] == ["a", "a and b", "a, b and c", "a, b, c and 1 more"]


def test_a_pod_is_advised_in_the_words_of_its_manifest(base: Path) -> None:
    (base / "pod.yaml").write_text(POD.format(base=base))
    file = read_config(base / "pod.yaml")
    assert file.problems == ()
    findings, volumes = Findings("file"), Volumes(base)
    open_volumes(file, volumes, TrustedFiles(trusted_files(file, None, None)), findings)
    volumes.close()
    (problem,) = findings.problems
    assert problem.where.endswith("pod.yaml: container web")
    assert problem.what.endswith("set readOnly: true in volumeMounts, or name another directory")


OPEN: dict[str, tuple[str, int, str]] = {
    "configuration, by all": (
        "etc",
        0o777,
        "this file: {}/etc could be exchanged by others: {}/etc is writable by all",
    ),
    "configuration, by the group": ("etc", 0o775, ""),
    "configuration, in a directory like /tmp": ("etc", 0o1777, ""),
    "key, by all": ("srv", 0o777, "server.tls_key: {}/srv could be exchanged by others: {}/srv is writable by others"),
    "key, by the group": ("srv", 0o770, "server.tls_key: {}/srv could be exchanged by others"),
    "key itself": ("srv/k.pem", 0o660, "server.tls_key: {}/srv/k.pem is writable by others (mode 0660)"),
    "module itself": ("lib/m.wasm", 0o666, "the module {}/lib/m.wasm: {}/lib/m.wasm is writable by all"),
}


@pytest.mark.parametrize(("opened", "mode", "warning"), OPEN.values(), ids=OPEN)
def test_a_file_that_other_users_could_exchange_is_warned_of(base: Path, opened: str, mode: int, warning: str) -> None:
    (base.parent / "srv/k.pem").touch()
    (base.parent / opened).chmod(mode)
    path = base / "modules.toml"
    server = {"tls_cert": f"{base.parent}/lib/c.pem", "tls_key": f"{base.parent}/srv/k.pem"}
    path.write_text(config(module("/m", base.parent / "lib/m.wasm"), server=server))
    findings = Findings("file")
    warn_of_exchangeable(trusted_files(read_config(path), None, None), findings)
    found = [problem.what for problem in findings.warnings]
    assert len(found) == bool(warning), found
    assert all(what.startswith(warning.replace("{}", str(base.parent))) for what in found)
