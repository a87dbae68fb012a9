"""The definition of a Pod's gateway."""

from __future__ import annotations

import pytest

from tests.support.pods import ANNOTATION, a_pod
from wagi_gateway.node.api import Object
from wagi_gateway.node.pods.definition import definition_of


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (a_pod(), True),
        (a_pod(annotations={"other": "x"}), True),
        (a_pod(metadata={"labels": {"a": "b"}, "annotations": a_pod()["metadata"]["annotations"]}), True),
        (a_pod({"resources": {"limits": {"memory": "64Mi"}}}), True),
        (a_pod({"image": "r.example/hello:2"}), False),
        (a_pod(port=3002), False),
        (a_pod(annotations={ANNOTATION + "modules": "{}"}), False),
    ],
)
def test_images_and_annotations_of_wagi_define_a_gateway(other: Object, is_same: bool) -> None:
    assert (definition_of(other) == definition_of(a_pod())) is is_same
