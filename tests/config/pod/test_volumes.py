"""`volumes` and `volumeMounts` of a Pod as the `volumes` of a `[[module]]`."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.config.pod.document import Value
from wagi_gateway.config.pod.mapping import ManifestMapping, Report
from wagi_gateway.config.pod.volumes import PodVolumes

HOST: dict[str, Value] = {"name": "v", "hostPath": {"path": "/srv/data"}}
MOUNT: dict[str, Value] = {"name": "v", "mountPath": "/data"}


def convert(volume: dict[str, Value], mount: dict[str, Value]) -> tuple[dict[str, object], list[str], list[str]]:
    """The mounts of a container with one volume, the problems and the warnings."""
    report = Report()
    volumes = PodVolumes(ManifestMapping({"volumes": [volume]}, "pod.yaml", "", report))
    mounts = volumes.mounts(ManifestMapping({"volumeMounts": [mount]}, "c", "", report))
    volumes.check_kinds()
    return mounts, [str(one) for one in report.problems], [str(one) for one in report.warnings]


@pytest.mark.parametrize(
    ("volume", "mount", "mounts"),
    [
        (HOST, MOUNT, {"/data": "/srv/data"}),
        (HOST, MOUNT | {"mountPath": "//data/./x/"}, {"/data/x": "/srv/data"}),
        (HOST, MOUNT | {"readOnly": True}, {"/data": {"path": "/srv/data", "read_only": True}}),
        (HOST, MOUNT | {"subPath": "a//b/."}, {"/data": "/srv/data/a/b"}),
        ({"name": "v", "emptyDir": {}}, MOUNT, {"/data": {"temporary": "v"}}),
        ({"name": "v"}, MOUNT, {"/data": {"temporary": "v"}}),
        ({"name": "v"}, MOUNT | {"readOnly": True}, {"/data": {"temporary": "v", "read_only": True}}),
    ],
)
def test_mounts(volume: dict[str, Value], mount: dict[str, Value], mounts: dict[str, object]) -> None:
    assert convert(volume, mount) == (mounts, [], [])


@pytest.mark.parametrize(
    ("volume", "mount", "problem"),
    [
        (
            HOST,
            MOUNT | {"name": "w"},
            'c: volumeMounts[0] (w).name = "w": there is no such volume in spec.volumes',
        ),
        (HOST, MOUNT | {"mountPath": "data"}, 'must be an absolute path without "..", such as "/data"'),
        (HOST, MOUNT | {"mountPath": "/a/../b"}, 'must be an absolute path without "..", such as "/data"'),
        (HOST, MOUNT | {"subPath": "../x"}, 'must be a relative path without ".."; it starts in the volume'),
        (HOST, MOUNT | {"subPath": "/x"}, 'must be a relative path without ".."; it starts in the volume'),
        ({"name": "v", "hostPath": {"path": "srv"}}, MOUNT, 'must be an absolute path without ".."'),
        ({"name": "v", "hostPath": {"path": "/a\0"}}, MOUNT, 'must be an absolute path without ".."'),
        (
            {"name": "v", "hostPath": {"path": "/x", "type": "Socket"}},
            MOUNT,
            "a guest opens directories only; mount the directory that holds it",
        ),
        ({"name": "v", "emptyDir": {}}, MOUNT | {"subPath": "x"}, "not supported in an emptyDir"),
        (
            {"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}},
            MOUNT,
            "a volume is of one kind, and emptyDir stands",
        ),
        ({"name": "v", "nfs": {"server": "h"}}, MOUNT, "not supported; mount it on this host and use hostPath"),
    ],
)
def test_refused(volume: dict[str, Value], mount: dict[str, Value], problem: str) -> None:
    mounts, problems, _ = convert(volume, mount)
    assert mounts == {}
    assert [problem in found for found in problems] == [True]


def test_an_unsupported_volume_that_is_not_mounted_is_a_warning() -> None:
    mounts, problems, warnings = convert({"name": "v", "secret": {"secretName": "s"}}, {"name": "v"})
    assert (mounts, len(problems)) == ({}, 1)
    assert warnings == [
        "pod.yaml: volumes[0] (v): secret: not supported, and not mounted by a container that is served"
    ]


def test_a_sub_path_stays_in_its_volume(tmp_path: Path) -> None:
    """CVE-2017-1002101."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "link").symlink_to("/etc")
    volume: dict[str, Value] = {"name": "v", "hostPath": {"path": str(tmp_path / "volume")}}
    mounts, problems, _ = convert(volume, MOUNT | {"subPath": "link"})
    assert mounts == {}
    assert "a symbolic link leads it out of the volume" in problems[0]
