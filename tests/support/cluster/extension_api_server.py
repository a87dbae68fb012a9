"""An API server of a group of APIs, such as metrics-server, to which the cluster's API server hands requests on."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tests.support.cluster.cluster import Cluster, Object
from tests.support.cluster.control_plane import HOST
from tests.support.nginx import accepts, free_addresses

NAMESPACE = "kube-system"
START = 60.0
_RBAC = "rbac.authorization.k8s.io"


@contextmanager
def extension_api_server(
    cluster: Cluster, name: str, api: str, rights: Mapping[str, Sequence[str]], *arguments: str
) -> Iterator[None]:
    """Runs the program `name` of the control plane's binary with an identity of its own, until the context ends.

    `api` is such as `metrics.k8s.io/v1beta1`; `rights` are the verbs of its ServiceAccount by resource. `{kubeconfig}`
    in an argument stands for the kubeconfig of that account.
    """
    control_plane = cluster.control_plane
    group, _, version = api.partition("/")
    api_service = f"{version}.{group}"
    ((_, port),) = free_addresses(1)
    control_plane.authority.server(name, f"{name}.{NAMESPACE}.svc")
    cluster.apply(*_identity(name, rights))
    kubeconfig = cluster.service_account(NAMESPACE, name)
    command = [f"--bind-address={HOST}", f"--secure-port={port}"]
    command += [f"--tls-cert-file={name}.crt", f"--tls-private-key-file={name}.key"]
    command += [f"--authentication-kubeconfig={kubeconfig}", f"--authorization-kubeconfig={kubeconfig}"]
    control_plane.start_program(name, *command, *(one.format(kubeconfig=kubeconfig) for one in arguments))
    try:
        cluster.wait_for(lambda: accepts((HOST, port)), f"{name} listens", START)
        authority = b64encode(control_plane.authority.certificate.read_bytes()).decode()
        cluster.apply(_service(name, port), _api_service(name, group, version, authority, port))
        available = "{.status.conditions[?(@.type=='Available')].status}"
        cluster.wait_for(lambda: cluster.jsonpath("apiservice", api_service, available) == "True", api_service, START)
        yield
    except AssertionError as error:
        error.add_note(control_plane.log(name)[-4000:])
        raise
    finally:
        # The controllers delete no namespace while an API does not answer.
        cluster.kubectl("delete", "apiservice", api_service, "--ignore-not-found")
        control_plane.stop_program(name)


def _identity(name: str, rights: Mapping[str, Sequence[str]]) -> list[Object]:
    rules = [{"apiGroups": [""], "resources": [resource], "verbs": [*verbs]} for resource, verbs in rights.items()]
    role = {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    reader: Object = _binding(f"{name}-reader", name, "Role", "extension-apiserver-authentication-reader")
    reader["kind"] = "RoleBinding"
    reader["metadata"]["namespace"] = NAMESPACE
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}},
        role,
        _binding(name, name, "ClusterRole", name),
        _binding(f"{name}-delegator", name, "ClusterRole", "system:auth-delegator"),
        reader,
    ]


def _binding(name: str, account: str, kind: str, role: str) -> Object:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}],
    }


def _service(name: str, port: int) -> Object:
    """A Service by name: nothing forwards the address of another one, and endpoints are not loopback."""
    spec = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def _api_service(name: str, group: str, version: str, authority: str, port: int) -> Object:
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{version}.{group}"},
        "spec": {
            "group": group,
            "version": version,
            "service": {"name": name, "namespace": NAMESPACE, "port": port},
            "caBundle": authority,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        },
    }
