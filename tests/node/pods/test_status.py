"""The status document: what kubectl shows for each state."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.kubernetes_api import merged
from tests.support.pods import ADDRESSES, a_pod
from wagi_gateway.node.api import Object
from wagi_gateway.node.pods.state import PodState, Run, Termination, Waiting
from wagi_gateway.node.pods.status import SHUTDOWN, differs, status_document

NOW, EARLIER = "2026-11-30T12:00:00Z", "2026-11-30T11:00:00Z"
TWO = [{"name": "a", "image": "r.example/a:1"}, {"name": "b", "image": "r.example/b:1"}]
END = Termination(1, "Error", "why", "s", "f", "r0")


def a_run(**fields: Any) -> Run:
    return Run(1, 1, "r1", EARLIER, "0.0.0.0", 3001, **fields)


def status(state: PodState, pod: Object | None = None) -> Object:
    shown: Object = status_document(pod or a_pod(*TWO), state, ADDRESSES, NOW)["status"]
    return shown


def conditions(shown: Object) -> dict[str, tuple[str, str | None]]:
    return {one["type"]: (one["status"], one["reason"]) for one in shown["conditions"]}


READY = PodState("Running", run=a_run(started={"a": True, "b": True}, ready={"a": True, "b": True}))
HALF = PodState("Running", run=a_run(started={"a": True}, ready={"a": True}))
FAILED = PodState("Failed", termination=END)


@pytest.mark.parametrize(
    ("state", "ready", "reason", "states"),
    [
        (PodState(), "False", "ContainersNotReady", ["waiting", "waiting"]),
        (HALF, "False", "ContainersNotReady", ["running", "running"]),
        (READY, "True", None, ["running", "running"]),
        (FAILED, "False", "PodFailed", ["terminated", "terminated"]),
        (PodState("Succeeded", termination=END), "False", "PodCompleted", ["terminated", "terminated"]),
    ],
    ids=["new", "half", "ready", "failed", "succeeded"],
)
def test_ready_follows_the_containers(state: PodState, ready: str, reason: str | None, states: list[str]) -> None:
    shown = status(state)
    assert conditions(shown)["Ready"] == conditions(shown)["ContainersReady"] == (ready, reason)
    assert [next(iter(one["state"])) for one in shown["containerStatuses"]] == states
    assert shown["phase"] == state.phase


def test_a_waiting_container_says_why() -> None:
    state = PodState(waiting=Waiting("ContainerCreating"), waiting_images={"b": Waiting("ErrImagePull", "refused")})
    assert [one["state"] for one in status(state)["containerStatuses"]] == [
        {"waiting": {"reason": "ContainerCreating"}},
        {"waiting": {"reason": "ErrImagePull", "message": "refused"}},
    ]


def test_a_container_has_image_run_and_last_end() -> None:
    state = PodState("Running", restarts=2, images={"a": "r.example/a@sha256:0"}, run=a_run(), last_termination=END)
    a, b = status(state)["containerStatuses"]
    assert (a["imageID"], b["imageID"], a["restartCount"]) == ("r.example/a@sha256:0", "", 2)
    assert a["containerID"] == "wagi-gateway://r1-a"
    assert a["state"] == {"running": {"startedAt": EARLIER}}
    assert a["lastState"]["terminated"] == {
        "exitCode": 1,
        "reason": "Error",
        "message": "why",
        "startedAt": "s",
        "finishedAt": "f",
        "containerID": "wagi-gateway://r0-a",
    }


def test_a_transition_keeps_its_time_and_a_true_condition_loses_its_reason() -> None:
    pod = a_pod(*TWO)
    pod["status"] = {
        "conditions": [
            {"type": "PodScheduled", "status": "True"},
            {
                "type": "Ready",
                "status": "False",
                "reason": "NodeNotReady",
                "message": "m",
                "lastTransitionTime": EARLIER,
            },
            {"type": "Initialized", "status": "True", "lastTransitionTime": EARLIER},
        ]
    }
    after = merged(pod, status_document(pod, READY, ADDRESSES, NOW))
    shown = {one["type"]: one for one in after["status"]["conditions"]}
    assert shown["PodScheduled"] == {"type": "PodScheduled", "status": "True"}
    assert shown["Ready"] == {"type": "Ready", "status": "True", "lastTransitionTime": NOW, "observedGeneration": 1}
    assert shown["Initialized"]["lastTransitionTime"] == EARLIER


def test_addresses_are_replaced() -> None:
    pod = a_pod(*TWO)
    pod["status"] = {"podIP": "192.0.2.5", "podIPs": [{"ip": "192.0.2.5"}], "hostIPs": [{"ip": "192.0.2.6"}]}
    after = merged(pod, status_document(pod, READY, ADDRESSES, NOW))["status"]
    assert (after["podIP"], after["podIPs"], after["hostIPs"]) == (
        "192.0.2.77",
        [{"ip": "192.0.2.77"}],
        [{"ip": "192.0.2.1"}],
    )


def test_a_readiness_gate_has_to_be_open() -> None:
    pod = a_pod(*TWO, readinessGates=[{"conditionType": "example.com/gate"}])
    shown = conditions(status(READY, pod))
    assert shown["Ready"] == ("False", "ReadinessGatesNotReady")
    assert shown["ContainersReady"] == ("True", None)
    pod["status"] = {"conditions": [{"type": "example.com/gate", "status": "True"}]}
    assert conditions(status(READY, pod))["Ready"] == ("True", None)


def test_reasons_and_generation() -> None:
    shown = status(PodState("Failed", reason="Evicted", message="too large", termination=END))
    assert (shown["reason"], shown["message"], shown["observedGeneration"]) == ("Evicted", "too large", 1)
    assert status(READY)["reason"] is None
    old = a_pod(*TWO)
    del old["metadata"]["generation"]
    assert "observedGeneration" not in status(READY, old)


def test_a_pod_that_ended_with_its_node_was_disrupted() -> None:
    """`podFailurePolicy` of a Job reads the condition."""
    shown = status(PodState("Failed", reason=SHUTDOWN, message="why", termination=END))
    disruption = next(one for one in shown["conditions"] if one["type"] == "DisruptionTarget")
    assert disruption == {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "TerminationByKubelet",
        "message": "why",
        "lastProbeTime": None,
        "lastTransitionTime": NOW,
        "observedGeneration": 1,
    }
    assert "DisruptionTarget" not in conditions(status(FAILED))


def test_an_ephemeral_container_has_ended() -> None:
    """`kubectl debug` would wait for it."""
    shown = status(READY, a_pod(*TWO, ephemeralContainers=[{"name": "debugger", "image": "busybox"}]))
    (debugger,) = shown["ephemeralContainerStatuses"]
    ended = debugger["state"]["terminated"]
    assert (debugger["name"], ended["reason"]) == ("debugger", "ContainerCannotRun")
    assert "no process to debug" in ended["message"]
    assert "ephemeralContainerStatuses" not in status(READY)


def test_a_change_by_others_is_seen() -> None:
    pod = a_pod(*TWO)
    document = status_document(pod, READY, ADDRESSES, NOW)
    written = merged(pod, document)
    assert not differs(written, document)
    by_controller = {"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]}}
    assert differs(merged(written, by_controller), document)
    gate = {"status": {"conditions": [{"type": "example.com/gate", "status": "True"}]}}
    assert not differs(merged(written, gate), document)
    assert differs(merged(written, {"metadata": {"generation": 2}}), document)
    assert differs(pod, document)
