"""The form of a Pod, and of one that a damaged file or a broken API server gives."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.support.kubernetes_api import MemoryApi
from tests.support.pods import RecordedEvents, a_pod, runtime
from wagi_gateway.node.pods.pods import Pods
from wagi_gateway.node.pods.shape import shape_problem

READY = {"type": "Ready", "status": "True"}
DAMAGES: list[tuple[str, Any]] = [
    ("metadata", None),
    ("metadata", []),
    ("metadata.uid", "../x"),
    ("metadata.uid", 7),
    ("metadata.name", None),
    ("metadata.namespace", ["x"]),
    ("metadata.annotations", {"a": 1}),
    ("metadata.labels", "x"),
    ("metadata.deletionGracePeriodSeconds", "30"),
    ("spec", None),
    ("spec", "x"),
    ("spec.containers", []),
    ("spec.containers", [{"name": "../../etc"}]),
    ("spec.containers", [7]),
    ("spec.volumes", [{"name": ".."}]),
    ("spec.volumes", {"name": "x"}),
    ("spec.ephemeralContainers", [{}]),
    ("spec.readinessGates", [{}]),
    ("spec.activeDeadlineSeconds", 1e300),
    ("spec.terminationGracePeriodSeconds", {}),
    ("status", 7),
    ("status.conditions", [{"type": "Ready"}]),
    ("status.containerStatuses", [{"name": "a", "ready": True, "restartCount": "7"}]),
]


def damaged(path: str, value: Any) -> Any:
    pod: Any = a_pod() | {"status": {"conditions": [READY]}}
    *parents, key = path.split(".")
    place = pod
    for parent in parents:
        place = place[parent]
    place[key] = value
    return pod


def test_a_pod_has_the_form() -> None:
    assert shape_problem(a_pod()) is None
    assert shape_problem(a_pod() | {"status": {"conditions": [READY], "containerStatuses": None}}) is None
    assert shape_problem("x") == "metadata.uid"


@pytest.mark.parametrize(("path", "value"), DAMAGES)
def test_a_pod_without_the_form_is_named(path: str, value: Any) -> None:
    assert str(shape_problem(damaged(path, value))).startswith(path)


def test_such_a_pod_is_left_out(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Others are seen nevertheless."""

    async def story() -> None:
        pods = Pods(runtime(tmp_path, MemoryApi(), RecordedEvents()))
        for path, value in DAMAGES:
            await pods.changed(damaged(path, value))
        assert pods.pods() == []

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    assert sum("is left out" in one.message for one in caplog.records) == len(DAMAGES)
