"""The status of a Pod as a strategic merge patch (pure: state and times in, a document out).

Source: spec of PodStatus in core/v1. A condition that is True has `reason` and `message` null, because a strategic
merge keeps the old ones otherwise; addresses are replaced as a whole, because their lists are merged by address.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..api import Object
from .addresses import PodAddresses
from .fields import EPHEMERAL
from .state import PodState, Termination, Waiting

SHUTDOWN = "Terminated"
"""`status.reason` of a Pod that ended because its node was shut down."""
_ENDED = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}
"""The reason of the conditions that are False once a Pod has ended."""


def status_document(pod: Object, state: PodState, addresses: PodAddresses, now: str) -> Object:
    """The body of a PATCH of `pods/status`; `pod` is the Pod as the API shows it, `now` a time of RFC 3339."""
    metadata = pod["metadata"]
    statuses = [_container(container, state) for container in pod["spec"]["containers"]]
    pod_ip = addresses.of(pod, state.address) or None
    status: Object = {
        "phase": state.phase,
        "reason": state.reason or None,
        "message": state.message or None,
        "startTime": state.start_time or now,
        "hostIP": addresses.host_ip,
        "hostIPs": [{"$patch": "replace"}, {"ip": addresses.host_ip}],
        "podIP": pod_ip,
        "podIPs": pod_ip and [{"$patch": "replace"}, {"ip": pod_ip}],
        "conditions": _conditions(pod, state, statuses, now),
        "containerStatuses": statuses,
    }
    if added := pod["spec"].get("ephemeralContainers"):
        status["ephemeralContainerStatuses"] = [_ephemeral(container, state.start_time or now) for container in added]
    if generation := metadata.get("generation"):
        status["observedGeneration"] = generation
    return {"metadata": {"uid": metadata["uid"]}, "status": status}


def differs(pod: Object, document: Object) -> bool:
    """Whether the API shows something else than was written: the node controller sets Ready=False after a gap, and a
    change of the specification has another generation."""
    if pod["metadata"].get("generation") != document["status"].get("observedGeneration"):
        return True
    return _summary(pod.get("status") or {}) != _summary(document["status"])


def _summary(status: Object) -> tuple[object, ...]:
    """The fields that others write or that a reader relies on, and not times."""
    owned = ("PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready")
    conditions = {
        one["type"]: (one["status"], one.get("reason") or "")
        for one in status.get("conditions") or ()
        if one["type"] in owned
    }
    containers = [
        (one["name"], one["ready"], one["restartCount"], *(one.get("state") or {}))
        for one in status.get("containerStatuses") or ()
    ]
    return status.get("phase"), status.get("podIP"), status.get("reason") or "", conditions, containers


def _container(container: Object, state: PodState) -> Object:
    name = container["name"]
    image = state.images.get(name, "")
    run = state.run
    latest = run.id if run else state.termination.run if state.termination else ""
    is_started = bool(run and run.started.get(name))
    return {
        "name": name,
        "image": container.get("image", ""),
        "imageID": image,
        "containerID": container_id(latest, name) if latest else "",
        "ready": bool(is_started and run and run.ready.get(name)),
        "started": is_started,
        "restartCount": state.restarts,
        "state": _state(name, state),
        "lastState": _terminated(name, state.last_termination) if state.last_termination else {},
    }


def _ephemeral(container: Object, at: str) -> Object:
    """The status of an ephemeral container: `kubectl debug` waits until it runs or has ended."""
    ended = {
        "exitCode": 128,
        "reason": "ContainerCannotRun",
        "message": f"The container cannot be started: {EPHEMERAL}",
        "startedAt": at,
        "finishedAt": at,
    }
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"terminated": ended},
    }


def container_id(run: str, name: str) -> str:
    """The id of a container: its runtime, the run of its Pod, and its name."""
    return f"wagi-gateway://{run}-{name}"


def _state(name: str, state: PodState) -> Object:
    if state.run:
        return {"running": {"startedAt": state.run.started_at}}
    if state.termination:
        return _terminated(name, state.termination)
    waiting: Waiting = state.waiting_images.get(name, state.waiting)
    shown = {"reason": waiting.reason} | ({"message": waiting.message} if waiting.message else {})
    return {"waiting": shown}


def _terminated(name: str, end: Termination) -> Object:
    terminated = {
        "exitCode": end.exit_code,
        "reason": end.reason,
        "startedAt": end.started_at,
        "finishedAt": end.finished_at,
        "containerID": container_id(end.run, name),
    }
    return {"terminated": terminated | ({"message": end.message} if end.message else {})}


def _conditions(pod: Object, state: PodState, statuses: Iterable[Object], now: str) -> list[Object]:
    unready = [one["name"] for one in statuses if not one["ready"]]
    waits = f"containers with unready status: [{' '.join(unready)}]"
    ended = _ENDED.get(state.phase, "")
    not_ready = (ended, "") if ended else ("ContainersNotReady", waits) if unready else ("", "")
    gates = _closed_gates(pod)
    ready = not_ready if not_ready[0] or not gates else ("ReadinessGatesNotReady", f"the gates {gates} are not True")
    has_process = state.run is not None
    disruption = [_disruption(pod, state.message, now)] if state.reason == SHUTDOWN else []
    return [
        *disruption,
        _condition(pod, "PodReadyToStartContainers", ("", "") if has_process else (ended or "NoProcess", ""), now),
        _condition(pod, "Initialized", ("", ""), now),
        _condition(pod, "ContainersReady", not_ready, now),
        _condition(pod, "Ready", ready, now),
    ]


def _disruption(pod: Object, message: str, now: str) -> Object:
    """The condition of a Pod that ended with its node, which `podFailurePolicy` of a Job reads."""
    condition = _condition(pod, "DisruptionTarget", ("", ""), now)
    return condition | {"reason": "TerminationByKubelet", "message": message}


def _closed_gates(pod: Object) -> list[str]:
    """The readiness gates whose condition is not True; controllers of the cluster set the conditions."""
    conditions = {one["type"]: one["status"] for one in (pod.get("status") or {}).get("conditions") or ()}
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()]
    return [gate for gate in gates if conditions.get(gate) != "True"]


def _condition(pod: Object, kind: str, why_not: tuple[str, str], now: str) -> Object:
    """A condition that is False for a reason and with a message, or True without."""
    reason, message = why_not
    value = "False" if reason else "True"
    conditions: list[Object] = (pod.get("status") or {}).get("conditions") or []
    shown = next((one for one in conditions if one["type"] == kind), {})
    changed = shown.get("lastTransitionTime") if shown.get("status") == value else None
    condition: Object = {
        "type": kind,
        "status": value,
        "reason": reason or None,
        "message": message or None,
        "lastProbeTime": None,
        "lastTransitionTime": changed or now,
    }
    if generation := pod["metadata"].get("generation"):
        condition["observedGeneration"] = generation
    return condition
