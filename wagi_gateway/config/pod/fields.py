"""The fields of a Pod (core/v1 of Kubernetes 1.35), and what becomes of each without a cluster."""

from __future__ import annotations

from .document import Number
from .mapping import Fate

READ = Fate("read")
SILENT = Fate("silent")
"""What chooses a node, or comes from a cluster's own books; there is no choice here."""


def _silent(names: str) -> dict[str, Fate]:
    return dict.fromkeys(names.split(), SILENT)


def _read(names: str) -> dict[str, Fate]:
    return dict.fromkeys(names.split(), READ)


_NO_CLUSTER = Fate("warning", "has no effect; a guest has no account in a cluster", ("default",))
_NO_PROCESS = Fate("warning", "has no effect; a guest sees no other process")
_NO_HOSTNAME = Fate("warning", "has no effect; a guest cannot ask for its host's name")
_SANDBOX = Fate("warning", "has no effect; a guest is in a sandbox and reaches nothing it was not given")
_PROBE = Fate("warning", "has no effect; GET /healthz answers while the gateway serves")
_STDIN = Fate("warning", "has no effect; a guest's standard input is the body of the request")

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
    "activeDeadlineSeconds": Fate("warning", "has no effect; the gateway serves until it is stopped"),
    "automountServiceAccountToken": _NO_CLUSTER,
    "dnsConfig": Fate("warning", "has no effect; names are resolved as on this host"),
    "dnsPolicy": Fate(
        "warning",
        "has no effect; names are resolved as on this host",
        ("ClusterFirst", "ClusterFirstWithHostNet", "Default"),
    ),
    "ephemeralContainers": Fate("error", "not supported; remove it"),
    "hostAliases": Fate("error", "not supported, names are resolved as on this host; add them to its /etc/hosts"),
    "hostIPC": _NO_PROCESS,
    "hostPID": _NO_PROCESS,
    "hostname": _NO_HOSTNAME,
    "hostnameOverride": _NO_HOSTNAME,
    "imagePullSecrets": Fate(
        "warning",
        "is not read; credentials come from a Docker config file: `docker login`, --auth-file or REGISTRY_AUTH_FILE",
    ),
    "initContainers": Fate(
        "error", "not supported; do what they do before the gateway starts, with `wagi-gateway run` if it is a module"
    ),
    "os": Fate("warning", "has no effect; guests are WebAssembly", ({"name": "linux"},)),
    "resourceClaims": Fate("warning", "has no effect; a guest has no devices"),
    "resources": Fate("warning", "has no effect; set limits.memory in the resources of each container"),
    "restartPolicy": Fate("warning", "has no effect; every request gets a fresh sandbox", ("Always",)),
    "securityContext": _SANDBOX,
    "serviceAccount": _NO_CLUSTER,
    "serviceAccountName": _NO_CLUSTER,
    "setHostnameAsFQDN": _NO_HOSTNAME,
    "shareProcessNamespace": _NO_PROCESS,
    "subdomain": _NO_HOSTNAME,
    "terminationGracePeriodSeconds": Fate(
        "warning", "has no effect; set shutdown_grace in [server] of a modules.toml", (Number("30"),)
    ),
}

CONTAINER = {
    **_read("name image imagePullPolicy env volumeMounts resources"),
    **_silent("terminationMessagePath terminationMessagePolicy resizePolicy"),
    "args": Fate(
        "error",
        "not supported, a guest's arguments come from the request; remove it, or set argv in a modules.toml",
    ),
    "command": Fate(
        "error", 'not supported, the image holds one module; choose its function with "entrypoint" in the annotation'
    ),
    "envFrom": Fate(
        "error", "not supported, there is no cluster to ask; write the variables in env, or give them with --env-file"
    ),
    "lifecycle": Fate("error", "not supported; run what it runs before and after the gateway"),
    "livenessProbe": _PROBE,
    "ports": Fate("warning", "has no effect; the annotation alpha.wagi.krustlet.dev/default-host says where to listen"),
    "readinessProbe": _PROBE,
    "restartPolicy": Fate("warning", "has no effect; every request gets a fresh sandbox", ("Always",)),
    "restartPolicyRules": Fate("warning", "has no effect; every request gets a fresh sandbox"),
    "securityContext": _SANDBOX,
    "startupProbe": _PROBE,
    "stdin": _STDIN,
    "stdinOnce": _STDIN,
    "tty": _STDIN,
    "volumeDevices": Fate("error", "not supported; a guest opens directories only: use volumeMounts"),
    "workingDir": Fate(
        "error", "not supported, WASI has no working directory; have the module use absolute paths", ("/",)
    ),
}

RESOURCES = {
    **_read("limits"),
    "requests": Fate("warning", "has no effect; a guest takes what it uses, up to its limits"),
    "claims": Fate("warning", "has no effect; a guest has no devices"),
}

ENV = _read("name value valueFrom")

VALUE_FROM = {
    **_read("fieldRef"),
    "configMapKeyRef": Fate(
        "error", "not supported, there is no cluster to ask; write the value here, or give it with -e or --env-file"
    ),
    "fileKeyRef": Fate("error", "not supported; write the value here, or give the file with --env-file"),
    "resourceFieldRef": Fate("error", "not supported; write the value here"),
    "secretKeyRef": Fate("error", "not supported, there is no cluster to ask; give the value with -e or --env-file"),
}

FIELD_REF = {**_read("fieldPath"), **_silent("apiVersion")}

MOUNT = {
    **_read("name mountPath readOnly subPath"),
    **_silent("recursiveReadOnly"),  # read_only holds for everything below a volume
    "mountPropagation": Fate("warning", "has no effect; a guest sees what is mounted on this host", ("None",)),
    "subPathExpr": Fate("error", "not supported; write the path in subPath"),
}

HOST_PATH = _read("path type")

EMPTY_DIR = {
    "medium": Fate("warning", "has no effect; the directory is made where this host keeps temporary files"),
    "sizeLimit": Fate("warning", "has no effect; the size of the directory has no limit"),
}

_FILES = "keep the files in a directory of this host and use hostPath"

VOLUME = {
    **_read("name hostPath emptyDir"),
    **{
        kind: Fate("error", _FILES)
        for kind in (
            "awsElasticBlockStore azureDisk azureFile cephfs cinder configMap csi downwardAPI ephemeral fc flexVolume"
            " flocker gcePersistentDisk gitRepo glusterfs image iscsi nfs persistentVolumeClaim photonPersistentDisk"
            " portworxVolume projected quobyte rbd scaleIO secret storageos vsphereVolume"
        ).split()
    },
    "downwardAPI": Fate("error", "use env with fieldRef"),
    "projected": Fate("error", f"a service account's token means nothing here; for other files, {_FILES}"),
    "nfs": Fate("error", "mount it on this host and use hostPath"),
    "persistentVolumeClaim": Fate("error", "use hostPath with the directory that holds the data"),
}

MODULE = {
    **_read("route entrypoint allowed_hosts http_max_concurrency"),
    "argv": Fate("error", "does not belong here; convert the file and set it in modules.toml"),
    "environment": Fate("error", "does not belong here; use env in the container"),
    "limits": Fate("error", "does not belong here; use resources in the container"),
    "module": Fate("error", "does not belong here; the container's image is the module"),
    "pull_policy": Fate("error", "does not belong here; use imagePullPolicy in the container"),
    "volumes": Fate("error", "does not belong here; use volumeMounts in the container"),
}
"""What the annotation says of one container."""
