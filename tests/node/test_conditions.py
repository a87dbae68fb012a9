"""The conditions of the Node: reasons, times of transitions, and which changes are written."""

from __future__ import annotations

import pytest

from wagi_gateway.node.capacity import Pressure
from wagi_gateway.node.conditions import conditions, differ

THEN, NOW = "2026-11-30T12:00:00Z", "2026-11-30T12:05:00Z"


def test_a_ready_node() -> None:
    found = conditions(Pressure(), None, [], NOW)
    assert {one["type"]: one["status"] for one in found} == {
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
        "NetworkUnavailable": "False",
        "Ready": "True",
    }
    assert all(one["lastTransitionTime"] == one["lastHeartbeatTime"] == NOW for one in found)


@pytest.mark.parametrize(
    ("pressure", "type_", "reason"),
    [
        (Pressure(memory=True), "MemoryPressure", "KubeletHasInsufficientMemory"),
        (Pressure(disk=True), "DiskPressure", "KubeletHasDiskPressure"),
        (Pressure(pids=True), "PIDPressure", "KubeletHasInsufficientPID"),
    ],
)
def test_pressure_has_the_reason_of_a_kubelet(pressure: Pressure, type_: str, reason: str) -> None:
    (found,) = (one for one in conditions(pressure, None, [], NOW) if one["type"] == type_)
    assert (found["status"], found["reason"]) == ("True", reason)


def test_a_transition_keeps_its_time_until_the_next_one() -> None:
    before = conditions(Pressure(), None, [], THEN)
    times = {one["type"]: one["lastTransitionTime"] for one in conditions(Pressure(), "it starts", before, NOW)}
    assert times == dict.fromkeys(times, THEN) | {"Ready": NOW}


def test_times_and_conditions_of_others_are_no_difference() -> None:
    found = conditions(Pressure(), None, [], NOW)
    stored = [*conditions(Pressure(), None, [], THEN), {"type": "ReadonlyFilesystem", "status": "False"}]
    assert not differ(found, stored)
    assert differ(found, stored[1:])
    assert differ(found, conditions(Pressure(), "it starts", [], THEN))
