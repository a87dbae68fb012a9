"""The downward API: the text of fields and resources."""

from __future__ import annotations

import pytest

from tests.support.pods import a_pod
from wagi_gateway.node.pods.downward import DownwardFields, UnknownField

POD = a_pod(
    {"name": "hello", "resources": {"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "1500m"}}},
    {"name": "bare"},
    metadata={"labels": {"b": 'x"y', "a": "1"}, "annotations": {}},
    serviceAccountName="robot",
)
FIELDS = DownwardFields(POD, "192.0.2.77", "192.0.2.1", {"memory": "2Gi"})


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("metadata.name", "demo"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "uid-demo"),
        ("metadata.labels['a']", "1"),
        ("metadata.labels['absent']", ""),
        ("spec.nodeName", "n"),
        ("spec.serviceAccountName", "robot"),
        ("status.podIP", "192.0.2.77"),
        ("status.hostIPs", "192.0.2.1"),
    ],
)
def test_fields(path: str, text: str) -> None:
    assert FIELDS.field(path) == text


def test_all_labels_are_a_file() -> None:
    assert FIELDS.file("metadata.labels") == 'a="1"\nb="x\\"y"'
    assert FIELDS.file("metadata.annotations") == ""
    assert FIELDS.file("metadata.name") == "demo"


@pytest.mark.parametrize("path", ["metadata.labels", "status.phase", "spec", ""])
def test_no_such_field(path: str) -> None:
    with pytest.raises(UnknownField):
        FIELDS.field(path)


@pytest.mark.parametrize(
    ("container", "reference", "text"),
    [
        ("hello", {"resource": "limits.cpu"}, "1"),
        ("hello", {"resource": "limits.cpu", "divisor": "1m"}, "250"),
        ("hello", {"resource": "requests.cpu", "divisor": "1"}, "2"),
        ("hello", {"resource": "limits.memory"}, str(64 * 2**20)),
        ("hello", {"resource": "limits.memory", "divisor": "1Mi"}, "64"),
        ("", {"containerName": "bare", "resource": "limits.memory", "divisor": "1Gi"}, "2"),
        ("bare", {"resource": "requests.memory"}, "0"),
    ],
)
def test_resources(container: str, reference: dict[str, str], text: str) -> None:
    assert FIELDS.resource(container, reference) == text


@pytest.mark.parametrize(
    "reference", [{"resource": "limits.gpu"}, {"resource": "x.cpu"}, {"resource": "limits.cpu", "divisor": "y"}]
)
def test_no_such_resource(reference: dict[str, str]) -> None:
    with pytest.raises(UnknownField):
        FIELDS.resource("hello", reference)
