"""The volumes of a Pod: what a guest finds in each, and what is refused."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import a_pod
from wagi_gateway.node.api import CONFIG_MAPS, SECRETS, ApiError, Object
from wagi_gateway.node.options import Ceiling
from wagi_gateway.node.pods import volumes
from wagi_gateway.node.pods.ceiling import PodCeiling
from wagi_gateway.node.pods.downward import DownwardFields
from wagi_gateway.node.pods.volume_kinds import VolumeNotReady
from wagi_gateway.node.pods.volumes import VolumeDirectories


@pytest.fixture
def api() -> MemoryApi:
    api = MemoryApi()
    api.put(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a.txt": "1", "b.txt": "2"}})
    api.put(SECRETS, {"metadata": {"name": "s"}, "data": {"key": base64.b64encode(b"secret").decode()}})
    return api


def directories(tmp_path: Path, api: MemoryApi, *volumes: Object, **ceiling: Any) -> VolumeDirectories:
    pod = a_pod(volumes=list(volumes), metadata={"labels": {"app": "demo"}})
    fields = DownwardFields(pod, "192.0.2.77", "192.0.2.1", {"cpu": "2"})
    return VolumeDirectories(api, pod, tmp_path / "v", fields, PodCeiling(Ceiling.model_validate(ceiling)))


def written(tmp_path: Path, api: MemoryApi, volume: dict[str, Any], **ceiling: Any) -> dict[str, str]:
    """The files of a volume as a guest sees them."""
    found = directories(tmp_path, api, {"name": "v", **volume}, **ceiling)
    asyncio.run(found.write(0.0))
    root = found.paths["v"]
    return {
        str(path.relative_to(root)): path.read_text()
        for top in root.iterdir()
        if not top.name.startswith("..")
        for path in [top, *top.rglob("*")]
        if path.is_file()
    }


ITEMS = [{"key": "a.txt", "path": "x/y", "mode": 0o400}]
PROJECTED = {
    "sources": [
        {"configMap": {"name": "c"}},
        {"secret": {"name": "s", "items": [{"key": "key", "path": "s/k"}]}},
        {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
}
DOWNWARD = {
    "items": [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "hello", "resource": "limits.cpu"}},
    ]
}


@pytest.mark.parametrize(
    ("volume", "files"),
    [
        ({"configMap": {"name": "c"}}, {"a.txt": "1", "b.txt": "2"}),
        ({"configMap": {"name": "c", "items": ITEMS}}, {"x/y": "1"}),
        ({"configMap": {"name": "ghost", "optional": True}}, {}),
        ({"configMap": {"name": "c", "items": [{"key": "ghost", "path": "g"}], "optional": True}}, {}),
        ({"secret": {"secretName": "s", "defaultMode": 0o400}}, {"key": "secret"}),
        (
            {"projected": PROJECTED},
            {"a.txt": "1", "b.txt": "2", "s/k": "secret", "token": "token-of-default", "name": "demo"},
        ),
        ({"downwardAPI": DOWNWARD}, {"labels": 'app="demo"', "cpu": "2"}),
        ({"emptyDir": {}}, {}),
        ({}, {}),
    ],
)
def test_the_files_of_a_volume(tmp_path: Path, api: MemoryApi, volume: dict[str, Any], files: dict[str, str]) -> None:
    assert written(tmp_path, api, volume) == files


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"configMap": {"name": "ghost"}}, 'configmap "ghost" not found'),
        ({"secret": {"secretName": "ghost"}}, 'secret "ghost" not found'),
        ({"configMap": {"name": "c", "items": [{"key": "ghost", "path": "g"}]}}, "non-existent key: ghost"),
        ({"configMap": {"name": "c", "items": [{"key": "a.txt", "path": "../x"}]}}, "must be relative"),
        ({"configMap": {"name": "bad"}}, "not a file name"),
        ({"projected": {"sources": [{"clusterTrustBundle": {"path": "x"}}]}}, "clusterTrustBundle is not supported"),
        ({"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "spec.x"}}]}}, "not a field"),
        ({"hostPath": {"path": "/etc"}}, "ceiling.host_paths"),
        ({"nfs": {"server": "x"}}, "nfs is not supported"),
    ],
)
def test_a_volume_that_cannot_be_made(tmp_path: Path, api: MemoryApi, volume: dict[str, Any], message: str) -> None:
    api.put(CONFIG_MAPS, {"metadata": {"name": "bad"}, "data": {"../x": "1"}})
    with pytest.raises(VolumeNotReady, match=message) as caught:
        written(tmp_path, api, volume)
    assert str(caught.value).startswith('MountVolume.SetUp failed for volume "v" : ')


def forbidden(_namespace: str, account: str, _body: Object) -> Object:
    raise ApiError(403, "Forbidden", f'serviceaccounts "{account}" is forbidden')


def test_a_token_that_is_forbidden_is_said(tmp_path: Path, api: MemoryApi) -> None:
    api.tokens = forbidden
    source = {"projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "vault"}}]}}
    with pytest.raises(VolumeNotReady, match=r"no right to request a token: serviceaccounts \"default\" is forbidden"):
        written(tmp_path, api, source)


def test_a_pod_that_names_no_token_starts_without_one(tmp_path: Path, api: MemoryApi) -> None:
    """The API server adds the volume to each Pod."""
    api.tokens = forbidden
    found = directories(tmp_path, api, {"name": "kube-api-access-x8zq2", "projected": PROJECTED})
    asyncio.run(found.write(0.0))
    path = found.paths["kube-api-access-x8zq2"]
    assert ((path / "a.txt").read_text(), (path / "token").exists()) == ("1", False)
    (warning,) = found.warnings
    assert warning.startswith('volume "kube-api-access-x8zq2" has no token: the node has no right to request a token')


def test_a_host_path_is_the_directory_itself(tmp_path: Path, api: MemoryApi) -> None:
    (tmp_path / "a.txt").write_text("host")
    assert written(tmp_path, api, {"hostPath": {"path": str(tmp_path)}}, host_paths=[str(tmp_path)])["a.txt"] == "host"
    made = {"hostPath": {"path": str(tmp_path / "new"), "type": "DirectoryOrCreate"}}
    assert written(tmp_path, api, made, host_paths=[str(tmp_path)]) == {}
    made = {"hostPath": {"path": str(tmp_path / "permitted/new"), "type": "DirectoryOrCreate"}}
    assert written(tmp_path, api, made, host_paths=[str(tmp_path / "permitted")]) == {}


@pytest.mark.parametrize(("path", "message"), [("absent", "no such directory"), ("link", "not permitted")])
def test_a_host_path_that_is_refused(tmp_path: Path, api: MemoryApi, path: str, message: str) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to("/etc")
    with pytest.raises(VolumeNotReady, match=message):
        written(tmp_path, api, {"hostPath": {"path": str(allowed / path)}}, host_paths=[str(allowed)])


def test_a_directory_that_is_made_follows_no_link(
    tmp_path: Path, api: MemoryApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest puts the link there right after the check, whose answer is as if it had come before."""
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    for directory in (allowed, outside):
        directory.mkdir()
    (allowed / "link").symlink_to(outside)
    monkeypatch.setattr("os.path.realpath", str)
    made = {"hostPath": {"path": str(allowed / "link/new"), "type": "DirectoryOrCreate"}}
    with pytest.raises(VolumeNotReady, match="Not a directory"):
        written(tmp_path, api, made, host_paths=[str(allowed)])
    assert list(outside.iterdir()) == []


def test_an_error_of_the_disk_is_named(tmp_path: Path, api: MemoryApi) -> None:
    (tmp_path / "v").write_text("a file")
    with pytest.raises(VolumeNotReady, match="directory"):
        written(tmp_path, api, {"emptyDir": {}})


def test_files_follow_their_sources(tmp_path: Path, api: MemoryApi) -> None:
    found = directories(tmp_path, api, {"name": "c", "configMap": {"name": "c"}}, {"name": "e", "emptyDir": {}})
    assert asyncio.run(found.write(0.0)) == ["c"]
    assert asyncio.run(found.write(1.0)) == []
    api.put(CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a.txt": "new"}})
    assert asyncio.run(found.write(2.0)) == ["c"]
    assert (tmp_path / "v/c/a.txt").read_text() == "new"
    assert not (tmp_path / "v/c/b.txt").exists()


@pytest.mark.parametrize(("name", "value"), [("MAX_FILES", 5), ("MAX_BYTES", 5)])
def test_all_volumes_of_a_pod_are_bounded(
    tmp_path: Path, api: MemoryApi, monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    """Each of many volumes may hold the same ConfigMap."""
    monkeypatch.setattr(volumes, name, value)
    found = directories(tmp_path, api, *({"name": f"v{n}", "configMap": {"name": "c"}} for n in range(4)))
    with pytest.raises(VolumeNotReady, match='"v2" : all volumes of the Pod have more than'):
        asyncio.run(found.write(0.0))
    assert sorted(one.name for one in (tmp_path / "v").iterdir()) == ["v0", "v1"]


def test_annotations_in_many_files_are_bounded(tmp_path: Path, api: MemoryApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "MAX_BYTES", 100)
    items = [{"path": f"x{n}", "fieldRef": {"fieldPath": "metadata.annotations"}} for n in range(3)]
    with pytest.raises(VolumeNotReady, match="more than"):
        written(tmp_path, api, {"downwardAPI": {"items": items}})


def test_labels_follow_the_pod(tmp_path: Path, api: MemoryApi) -> None:
    found = directories(tmp_path, api, {"name": "d", "downwardAPI": DOWNWARD})
    asyncio.run(found.write(0.0))
    pod = a_pod(volumes=[{"name": "d", "downwardAPI": DOWNWARD}], metadata={"labels": {"app": "other"}})
    found.update(pod, DownwardFields(pod, "", "", {}))
    assert asyncio.run(found.write(1.0)) == ["d"]
    assert (tmp_path / "v/d/labels").read_text() == 'app="other"'


def test_a_volume_that_cannot_be_refreshed_holds_no_other_one_up(tmp_path: Path, api: MemoryApi) -> None:
    """A token in the second volume would expire."""
    found = directories(
        tmp_path, api, {"name": "gone", "configMap": {"name": "ghost"}}, {"name": "c", "configMap": {"name": "c"}}
    )
    with pytest.raises(VolumeNotReady, match='"gone"'):
        asyncio.run(found.write(0.0))
    assert (tmp_path / "v/c/a.txt").read_text() == "1"


@pytest.mark.parametrize(
    ("source", "modes"),
    [
        ({"configMap": {"name": "c", "defaultMode": 0o440}}, {"a.txt": 0o440, "b.txt": 0o440}),
        ({"configMap": {"name": "c", "items": ITEMS, "defaultMode": 0o440}}, {"x/y": 0o400}),
        ({"secret": {"secretName": "s"}}, {"key": 0o644}),
        ({"downwardAPI": {**DOWNWARD, "defaultMode": 0o400}}, {"labels": 0o400, "cpu": 0o400}),
        (
            {"projected": {**PROJECTED, "defaultMode": 0o444}},
            {"a.txt": 0o444, "b.txt": 0o444, "s/k": 0o444, "token": 0o600, "name": 0o444},
        ),
    ],
)
def test_the_modes_of_files(tmp_path: Path, api: MemoryApi, source: dict[str, Any], modes: dict[str, int]) -> None:
    asyncio.run(directories(tmp_path, api, {"name": "v", **source}).write(0.0))
    root = tmp_path / "v/v"
    assert {path: (root / path).stat().st_mode & 0o777 for path in modes} == modes


@pytest.mark.parametrize(
    "source",
    [
        {"secret": {"secretName": "ghost", "optional": True}},
        {"projected": {"sources": [{"configMap": {"name": "ghost", "optional": True}}]}},
        {
            "projected": {
                "sources": [{"secret": {"name": "s", "items": [{"key": "no", "path": "x"}], "optional": True}}]
            }
        },
    ],
)
def test_what_is_optional_may_be_absent(tmp_path: Path, api: MemoryApi, source: dict[str, Any]) -> None:
    assert written(tmp_path, api, source) == {}
