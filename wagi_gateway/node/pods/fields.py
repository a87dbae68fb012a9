"""The fields of a Pod and what the node does with each: docs/kubernetes-node.md has them in one table.

`read` fields are honoured; `silent` ones are of the API server, the scheduler and controllers, or usual in Pods that do
not need them; those with `warning` have no effect, which an Event says; those with `error` refuse the Pod.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...config.pod.mapping import FieldPolicy
from ..api import Object

_READ, _SILENT = FieldPolicy("read"), FieldPolicy("silent")
_REFUSED = FieldPolicy("error")
"""The message is that of `config.pod.fields`."""
_NO_PROCESS = FieldPolicy("warning", "has no effect: a guest sees no other process")
_NO_NAME = FieldPolicy("warning", "has no effect: a guest cannot read the name of its host")
_NO_DEVICES = FieldPolicy("warning", "has no effect: a guest has no devices")
_STDIN = FieldPolicy("warning", "has no effect: a guest's standard input is the body of the request")
_ONE_PROCESS = FieldPolicy("warning", "has no effect: all containers of a Pod are one process; set spec.restartPolicy")
_NAMES = FieldPolicy("warning", "has no effect: names are resolved as by the node")


def _all(policy: FieldPolicy, names: str) -> dict[str, FieldPolicy]:
    return dict.fromkeys(names.split(), policy)


SPEC: Mapping[str, FieldPolicy] = {
    **_all(
        _READ,
        "activeDeadlineSeconds automountServiceAccountToken containers enableServiceLinks ephemeralContainers"
        " imagePullSecrets nodeName overhead readinessGates resources restartPolicy serviceAccountName"
        " terminationGracePeriodSeconds volumes",
    ),
    **_all(
        _SILENT,
        "affinity dnsPolicy evictionResponders hostname hostNetwork hostUsers nodeSelector os preemptionPolicy priority"
        " priorityClassName runtimeClassName schedulerName schedulingGates schedulingGroup securityContext"
        " serviceAccount subdomain tolerations topologySpreadConstraints workloadRef",
    ),
    **_all(_REFUSED, "hostAliases initContainers"),
    **_all(_NO_PROCESS, "hostIPC hostPID shareProcessNamespace"),
    **_all(_NO_NAME, "hostnameOverride setHostnameAsFQDN"),
    "dnsConfig": _NAMES,
    "resourceClaims": _NO_DEVICES,
}

CONTAINER: Mapping[str, FieldPolicy] = {
    **_all(
        _READ,
        "env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe resources startupProbe"
        " volumeMounts",
    ),
    **_all(_SILENT, "resizePolicy securityContext terminationMessagePath terminationMessagePolicy"),
    **_all(_REFUSED, "args command volumeDevices workingDir"),
    **_all(_ONE_PROCESS, "restartPolicy restartPolicyRules"),
    **_all(_STDIN, "stdin stdinOnce tty"),
}

EPHEMERAL = "a module has no process to debug; kubectl logs, and kubectl exec POD -c MODULE -- GET /PATH, work"
"""Why an ephemeral container is not started."""
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_HOOKS = ("postStart", "preStop")
_WHY_NOT = {
    "exec": "there is no process to execute a command in",
    "grpc": "a module answers HTTP alone",
    "tcpSocket": "hooks are requests of HTTP, as for a kubelet",
}


def unsupported(pod: Object) -> Iterator[str]:
    """What of a Pod has no effect on the node."""
    spec = pod["spec"]
    yield from _without_effect(spec, SPEC, "spec")
    for volume in spec.get("volumes") or ():
        if medium := (volume.get("emptyDir") or {}).get("medium"):
            where = f"spec.volumes ({volume['name']})"
            yield f"{where}: medium {medium[:50]} has no effect: the volume is on the node's disk"
    for container in spec["containers"]:
        name = f"spec.containers ({container['name']})"
        yield from _without_effect(container, CONTAINER, name)
        if (container.get("resources") or {}).get("claims"):
            yield f"{name}: resources.claims {_NO_DEVICES.why}"
        for probe in _PROBES:
            yield from _of_handler(container.get(probe) or {}, ("httpGet", "tcpSocket"), f"{name}: {probe}")
        lifecycle = container.get("lifecycle") or {}
        for hook in _HOOKS:
            yield from _of_handler(lifecycle.get(hook) or {}, ("httpGet", "sleep"), f"{name}: {hook}")
        if "stopSignal" in lifecycle:
            yield f"{name}: stopSignal has no effect: the gateway ends by SIGTERM"
    if added := spec.get("ephemeralContainers"):
        names = ", ".join(one["name"] for one in added[:10])
        yield f"ephemeral containers ({names}) are not started: {EPHEMERAL}"


def _without_effect(values: Object, policies: Mapping[str, FieldPolicy], where: str) -> Iterator[str]:
    for key, value in values.items():
        policy = policies.get(key)
        if value and policy and policy.kind == "warning":
            yield f"{where}: {key} {policy.why}"


def _of_handler(handler: Object, supported: tuple[str, ...], where: str) -> Iterator[str]:
    """What of a probe or hook has no effect."""
    for kind in ("exec", "grpc", "tcpSocket"):
        if kind in handler and kind not in supported:
            yield f"{where}: {kind} has no effect: {_WHY_NOT[kind]}; use httpGet"
    if (handler.get("httpGet") or {}).get("host") or (handler.get("tcpSocket") or {}).get("host"):
        yield f"{where}: host has no effect: the node sends the request to the Pod itself"
