"""The fields of a Pod (core/v1 of Kubernetes 1.35), each with its policy: read, ignored, warned about or refused."""

from __future__ import annotations

from .document import Number
from .mapping import FieldPolicy

READ = FieldPolicy("read")
SILENT = FieldPolicy("silent")
"""Fields for scheduling, and fields that the API server sets; both have no meaning without a cluster."""


def _silent(names: str) -> dict[str, FieldPolicy]:
    return dict.fromkeys(names.split(), SILENT)


def _read(names: str) -> dict[str, FieldPolicy]:
    return dict.fromkeys(names.split(), READ)


_NO_CLUSTER = FieldPolicy("warning", "has no effect; a guest has no account in a cluster", ("default",))
_NO_PROCESS = FieldPolicy("warning", "has no effect; a guest sees no other process")
_NO_HOSTNAME = FieldPolicy("warning", "has no effect; a guest cannot ask for its host's name")
_SANDBOX = FieldPolicy("warning", "has no effect; a guest is in a sandbox and reaches nothing it was not given")
_PROBE = FieldPolicy("warning", "has no effect; GET /healthz answers while the gateway serves")
_STDIN = FieldPolicy("warning", "has no effect; a guest's standard input is the body of the request")

OBJECT = {**_read("apiVersion kind metadata spec"), **_silent("status")}

METADATA = {
    **_read("name namespace uid labels annotations"),
    **_silent(
        "generateName generation resourceVersion creationTimestamp deletionTimestamp deletionGracePeriodSeconds"
        " finalizers managedFields ownerReferences selfLink clusterName"
    ),
}

SPEC = {
    **_read("containers volumes"),
    **_silent(
        "affinity hostNetwork nodeName nodeSelector overhead preemptionPolicy priority priorityClassName"
        " readinessGates runtimeClassName schedulerName schedulingGates schedulingGroup tolerations"
        " topologySpreadConstraints workloadRef evictionResponders enableServiceLinks hostUsers"
    ),
    "activeDeadlineSeconds": FieldPolicy("warning", "has no effect; the gateway serves until it is stopped"),
    "automountServiceAccountToken": _NO_CLUSTER,
    "dnsConfig": FieldPolicy("warning", "has no effect; names are resolved as on this host"),
    "dnsPolicy": FieldPolicy(
        "warning",
        "has no effect; names are resolved as on this host",
        ("ClusterFirst", "ClusterFirstWithHostNet", "Default"),
    ),
    "ephemeralContainers": FieldPolicy("error", "not supported; remove it"),
    "hostAliases": FieldPolicy(
        "error", "not supported, names are resolved as on this host; add them to its /etc/hosts"
    ),
    "hostIPC": _NO_PROCESS,
    "hostPID": _NO_PROCESS,
    "hostname": _NO_HOSTNAME,
    "hostnameOverride": _NO_HOSTNAME,
    "imagePullSecrets": FieldPolicy(
        "warning",
        "is not read; credentials come from a Docker config file: `docker login`, --auth-file or REGISTRY_AUTH_FILE",
    ),
    "initContainers": FieldPolicy(
        "error", "not supported; do what they do before the gateway starts, with `wagi-gateway run` if it is a module"
    ),
    "os": FieldPolicy("warning", "has no effect; guests are WebAssembly", ({"name": "linux"},)),
    "resourceClaims": FieldPolicy("warning", "has no effect; a guest has no devices"),
    "resources": FieldPolicy("warning", "has no effect; set limits.memory in the resources of each container"),
    "restartPolicy": FieldPolicy("warning", "has no effect; every request gets a fresh sandbox", ("Always",)),
    "securityContext": _SANDBOX,
    "serviceAccount": _NO_CLUSTER,
    "serviceAccountName": _NO_CLUSTER,
    "setHostnameAsFQDN": _NO_HOSTNAME,
    "shareProcessNamespace": _NO_PROCESS,
    "subdomain": _NO_HOSTNAME,
    "terminationGracePeriodSeconds": FieldPolicy(
        "warning", "has no effect; set shutdown_grace in [server] of a modules.toml", (Number("30"),)
    ),
}

CONTAINER = {
    **_read("name image imagePullPolicy env volumeMounts resources"),
    **_silent("terminationMessagePath terminationMessagePolicy resizePolicy"),
    "args": FieldPolicy(
        "error",
        "not supported, a guest's arguments come from the request; remove it, or set argv in a modules.toml",
    ),
    "command": FieldPolicy(
        "error", 'not supported, the image holds one module; choose its function with "entrypoint" in the annotation'
    ),
    "envFrom": FieldPolicy(
        "error", "not supported, there is no cluster to ask; write the variables in env, or give them with --env-file"
    ),
    "lifecycle": FieldPolicy("error", "not supported; run what it runs before and after the gateway"),
    "livenessProbe": _PROBE,
    "ports": FieldPolicy(
        "warning", "has no effect; the annotation alpha.wagi.krustlet.dev/default-host says where to listen"
    ),
    "readinessProbe": _PROBE,
    "restartPolicy": FieldPolicy("warning", "has no effect; every request gets a fresh sandbox", ("Always",)),
    "restartPolicyRules": FieldPolicy("warning", "has no effect; every request gets a fresh sandbox"),
    "securityContext": _SANDBOX,
    "startupProbe": _PROBE,
    "stdin": _STDIN,
    "stdinOnce": _STDIN,
    "tty": _STDIN,
    "volumeDevices": FieldPolicy("error", "not supported; a guest opens directories only: use volumeMounts"),
    "workingDir": FieldPolicy(
        "error", "not supported, WASI has no working directory; have the module use absolute paths", ("/",)
    ),
}

RESOURCES = {
    **_read("limits"),
    "requests": FieldPolicy("warning", "has no effect; a guest takes what it uses, up to its limits"),
    "claims": FieldPolicy("warning", "has no effect; a guest has no devices"),
}

ENV = _read("name value valueFrom")

VALUE_FROM = {
    **_read("fieldRef"),
    "configMapKeyRef": FieldPolicy(
        "error", "not supported, there is no cluster to ask; write the value here, or give it with -e or --env-file"
    ),
    "fileKeyRef": FieldPolicy("error", "not supported; write the value here, or give the file with --env-file"),
    "resourceFieldRef": FieldPolicy("error", "not supported; write the value here"),
    "secretKeyRef": FieldPolicy(
        "error", "not supported, there is no cluster to ask; give the value with -e or --env-file"
    ),
}

FIELD_REF = {**_read("fieldPath"), **_silent("apiVersion")}

MOUNT = {
    **_read("name mountPath readOnly subPath"),
    **_silent("recursiveReadOnly"),  # read_only applies recursively
    "mountPropagation": FieldPolicy("warning", "has no effect; a guest sees what is mounted on this host", ("None",)),
    "subPathExpr": FieldPolicy("error", "not supported; write the path in subPath"),
}

HOST_PATH = _read("path type")

EMPTY_DIR = {
    "medium": FieldPolicy("warning", "has no effect; the directory is made where this host keeps temporary files"),
    "sizeLimit": FieldPolicy("warning", "has no effect; the size of the directory has no limit"),
}

_FILES = "keep the files in a directory of this host and use hostPath"

VOLUME = {
    **_read("name hostPath emptyDir"),
    **{
        kind: FieldPolicy("error", _FILES)
        for kind in (
            "awsElasticBlockStore azureDisk azureFile cephfs cinder configMap csi downwardAPI ephemeral fc flexVolume"
            " flocker gcePersistentDisk gitRepo glusterfs image iscsi nfs persistentVolumeClaim photonPersistentDisk"
            " portworxVolume projected quobyte rbd scaleIO secret storageos vsphereVolume"
        ).split()
    },
    "downwardAPI": FieldPolicy("error", "use env with fieldRef"),
    "projected": FieldPolicy("error", f"a service account's token means nothing here; for other files, {_FILES}"),
    "nfs": FieldPolicy("error", "mount it on this host and use hostPath"),
    "persistentVolumeClaim": FieldPolicy("error", "use hostPath with the directory that holds the data"),
}

MODULE = {
    **_read("route entrypoint allowed_hosts http_max_concurrency"),
    "argv": FieldPolicy("error", "does not belong here; convert the file and set it in modules.toml"),
    "build": FieldPolicy("error", "does not belong here; the container's image is built already"),
    "environment": FieldPolicy("error", "does not belong here; use env in the container"),
    "limits": FieldPolicy("error", "does not belong here; use resources in the container"),
    "module": FieldPolicy("error", "does not belong here; the container's image is the module"),
    "pull_policy": FieldPolicy("error", "does not belong here; use imagePullPolicy in the container"),
    "volumes": FieldPolicy("error", "does not belong here; use volumeMounts in the container"),
}
"""The fields of one container in the annotation."""
