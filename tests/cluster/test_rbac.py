"""The rights of the node in the cluster are enough and minimal: without any single one something breaks.

Each right has a check. A node with all rights passes all of them; a node that lacks one right is refused by the API
server when it needs the right, and then fails the check.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import yaml

from tests.conftest import ROOT
from tests.support.cluster.article import publish_modules
from tests.support.cluster.cluster import Cluster, Object
from tests.support.cluster.node import Node, a_node
from tests.support.cluster.pods import hello, row, wagi_pod
from tests.support.nginx import free_addresses
from tests.support.registry import PASSWORD, USERNAME, Registry, running_registry

RULES = ROOT / "deploy" / "kubernetes" / "node" / "rbac.yaml"
ACCOUNT, SHIPPED_NAME = "wagi-gateway-node", "wagi"


class Right(NamedTuple):
    """One verb of one resource."""

    resource: str
    verb: str


class Scenario:
    """A node with the rights of a ServiceAccount, and Pods that need all of them."""

    def __init__(self, node: Node, namespace: str, registry: Registry, private: Registry) -> None:
        self.node, self.cluster, self.namespace = node, node.cluster, namespace
        self._registry, self._private = registry, private

    @property
    def user(self) -> str:
        """The user name of the node's ServiceAccount."""
        return f"system:serviceaccount:{self.namespace}:{ACCOUNT}"

    def create_pods(self) -> None:
        """Creates a Pod for each kind of object that a Pod may name."""
        self._create("plain", {})
        self._create("with-token", {"automountServiceAccountToken": True})
        self._create("with-configmap", env("configMapKeyRef"))
        self._create("with-secret", env("secretKeyRef"))
        self._create_with_an_account()
        self._create("unready", {"readinessProbe": {"httpGet": {"path": "/none", "port": 1}, "periodSeconds": 1}})

    def _create_with_an_account(self) -> None:
        """A Pod whose ServiceAccount gets its imagePullSecret later: admission has not copied that into the Pod."""
        login = ("--docker-username", USERNAME, "--docker-password", PASSWORD)
        secret = ("secret", "docker-registry", "login", f"--docker-server={self._private.address}", *login)
        self.cluster.kubectl("create", *secret, "-n", self.namespace)
        self.cluster.kubectl("create", "serviceaccount", "late", "-n", self.namespace)
        change = {"serviceAccountName": "late", "automountServiceAccountToken": False}
        self._create("with-account", change, self._private)
        patch = json.dumps({"imagePullSecrets": [{"name": "login"}]})
        self.cluster.kubectl("patch", "serviceaccount", "late", "-n", self.namespace, "--patch", patch)

    def _create(self, name: str, change: Object, registry: Registry | None = None) -> None:
        ((host, port),) = free_addresses(1)
        images = hello((registry or self._registry).address)
        pod = wagi_pod(name, f"{host}:{port}", images, node=self.node.name)
        pod["spec"]["terminationGracePeriodSeconds"] = 2
        (pod["spec"] if "automountServiceAccountToken" in change else pod["spec"]["containers"][0]).update(change)
        self.cluster.kubectl("create", "-n", self.namespace, "-f", "-", stdin=pod)

    def is_running(self, pod: str) -> bool:
        """Whether kubectl shows a Pod as ready."""
        return row(self.cluster, pod, self.namespace) == ["1/1", "Running"]

    def node_field(self, path: str) -> str:
        """A field of the Node."""
        return self.cluster.jsonpath("node", self.node.name, path)

    def requests(self, right: Right) -> list[int]:
        """The status codes of the node's requests that need a right."""
        found = self.cluster.control_plane.requests(self.user)
        return [one.code for one in found if (one.resource, one.verb) == (right.resource, right.verb)]


def env(source: str) -> Object:
    reference = {source: {"name": "rbac", "key": "text"}}
    return {"env": [{"name": "TEXT", "valueFrom": reference}]}


def is_registered(one: Scenario) -> bool:
    return one.node_field("{.metadata.name}") == one.node.name


def is_ready(one: Scenario) -> bool:
    return one.node_field("{.status.conditions[?(@.type=='Ready')].status}") == "True"


def restores_a_label(one: Scenario) -> bool:
    if not is_registered(one):
        return False
    one.cluster.kubectl("label", "node", one.node.name, "type=other", "--overwrite")
    return waits(one, lambda: one.node_field("{.metadata.labels.type}") == "wagi-gateway")


def runs_a_pod(one: Scenario) -> bool:
    return one.is_running("plain")


def runs_a_pod_with_a_token(one: Scenario) -> bool:
    return one.is_running("with-token")


def runs_a_pod_with_a_configmap(one: Scenario) -> bool:
    return one.is_running("with-configmap")


def runs_a_pod_with_a_secret(one: Scenario) -> bool:
    return one.is_running("with-secret")


def pulls_with_the_secret_of_an_account(one: Scenario) -> bool:
    return one.is_running("with-account")


def watches_pods(one: Scenario) -> bool:
    return 200 in one.requests(Right("pods", "watch"))


def ends_a_deleted_pod(one: Scenario) -> bool:
    one.cluster.kubectl("delete", "pod", "plain", "-n", one.namespace, "--wait=false", "--ignore-not-found")
    return waits(one, lambda: not row(one.cluster, "plain", one.namespace))


def reports_events(one: Scenario) -> bool:
    return "Started" in one.cluster.events("plain", one.namespace)


def counts_events(one: Scenario) -> bool:
    found = one.cluster.list("events", one.namespace, "--field-selector", "reason=Unhealthy")
    return any(event.get("count", 0) > 1 for event in found)


def shows_logs_to_the_api_server(one: Scenario) -> bool:
    try:
        one.cluster.kubectl("logs", "plain", "-n", one.namespace, "--insecure-skip-tls-verify-backend")
    except AssertionError:
        return False
    return True


def serves_a_client_with_a_token(one: Scenario) -> bool:
    token = one.cluster.token(one.namespace, "metrics")
    port = one.node_field("{.status.daemonEndpoints.kubeletEndpoint.Port}")
    headers = {"Authorization": f"Bearer {token}"}
    url = f"https://127.0.0.1:{port}/pods"
    return httpx.get(url, headers=headers, verify=False, trust_env=False, timeout=30).status_code == 200


def renews_its_lease(one: Scenario) -> bool:
    path = "{.spec.renewTime}"
    first = one.cluster.jsonpath("lease", one.node.name, path, "kube-node-lease")
    return bool(first) and waits(
        one, lambda: one.cluster.jsonpath("lease", one.node.name, path, "kube-node-lease") != first
    )


CHECKS: dict[Right, Callable[[Scenario], bool]] = {
    Right("nodes", "create"): is_registered,
    Right("nodes", "get"): is_ready,
    Right("nodes", "patch"): restores_a_label,
    Right("nodes/status", "patch"): is_ready,
    Right("pods", "list"): runs_a_pod,
    Right("pods", "watch"): watches_pods,
    Right("pods/status", "patch"): runs_a_pod,
    Right("events", "create"): reports_events,
    Right("events", "patch"): counts_events,
    Right("configmaps", "get"): runs_a_pod_with_a_configmap,
    Right("serviceaccounts", "get"): pulls_with_the_secret_of_an_account,
    Right("secrets", "get"): runs_a_pod_with_a_secret,
    Right("serviceaccounts/token", "create"): runs_a_pod_with_a_token,
    Right("services", "list"): runs_a_pod,
    Right("tokenreviews", "create"): serves_a_client_with_a_token,
    Right("subjectaccessreviews", "create"): shows_logs_to_the_api_server,
    Right("leases", "create"): renews_its_lease,
    Right("leases", "get"): renews_its_lease,
    Right("leases", "update"): renews_its_lease,
    Right("pods", "delete"): ends_a_deleted_pod,  # the last one: the others need the Pod
}
"""The check of each right."""

TRIGGERED = (
    Right("nodes", "patch"),
    Right("pods", "delete"),
    Right("tokenreviews", "create"),
    Right("subjectaccessreviews", "create"),
)
"""The rights that the node needs once a check asks for something."""

PASSES, FAILS = 60.0, 5.0


def waits(one: Scenario, condition: Callable[[], bool], timeout: float = FAILS * 2) -> bool:
    """Whether a condition comes true in time."""
    try:
        one.cluster.wait_for(condition, "", timeout)
    except AssertionError:
        return False
    return True


def shipped_rights() -> list[Object]:
    """The objects of rbac.yaml."""
    return list(yaml.safe_load_all(RULES.read_text()))


def renamed(objects: list[Object], node: str, namespace: str, without: Right | None) -> list[Object]:
    """The objects for a node of another name, and without one right."""
    for one in objects:
        one["metadata"]["name"] = node
        if "roleRef" in one:
            one["roleRef"]["name"], one["subjects"][0]["namespace"] = node, namespace
        rules: list[Object] = []
        for rule in one.get("rules", ()):
            if "resourceNames" in rule:
                rule["resourceNames"] = [node]
            for resource in rule["resources"]:
                verbs = [verb for verb in rule["verbs"] if Right(resource, verb) != without]
                if verbs:
                    rules.append({**rule, "resources": [resource], "verbs": verbs})
        if "rules" in one:
            one["rules"] = rules
    return objects


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with TLS and a password."""
    with running_registry(tmp_path_factory.mktemp("private"), tls=True, password=True) as started:
        publish_modules(started)
        yield started


@contextmanager
def scenario(
    cluster: Cluster, registry: Registry, private: Registry, directory: Path, without: Right | None
) -> Iterator[Scenario]:
    """A started node with the shipped rights but one, and its Pods."""
    name, namespace = f"rbac-{uuid.uuid4().hex[:8]}", cluster.new_namespace()
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": namespace}}
    rights = renamed(copy.deepcopy(shipped_rights()), name, namespace, without)
    cluster.apply(account, *rights)
    cluster.kubectl("create", "serviceaccount", "metrics", "-n", namespace)
    cluster.kubectl("create", "clusterrolebinding", name + "-metrics", "--clusterrole=cluster-admin",
                    f"--serviceaccount={namespace}:metrics")  # fmt: skip
    for kind in (["configmap"], ["secret", "generic"]):
        cluster.kubectl("create", *kind, "rbac", "-n", namespace, "--from-literal=text=x")
    identity = cluster.service_account(namespace, ACCOUNT)
    trust = f'[registries."{private.address}"]\nca_file = "{private.ca_file}"'
    with a_node(cluster, directory, name, kubeconfig=identity, tables=trust) as node:
        started = Scenario(node, namespace, registry, private)
        started.create_pods()
        node.start()
        try:
            yield started
        finally:
            cluster.kubectl("delete", "node", name, "--ignore-not-found", "--wait=false")


def test_every_right_has_a_check() -> None:
    rights = [
        Right(resource, verb)
        for one in shipped_rights()
        for rule in one.get("rules", ())
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
    assert sorted(rights) == sorted(CHECKS)


@pytest.mark.timeout(600)
def test_all_rights_are_enough(cluster: Cluster, registry: Registry, private: Registry, tmp_path: Path) -> None:
    with scenario(cluster, registry, private, tmp_path, without=None) as started:
        for right, check in CHECKS.items():
            what = f"{check.__name__}, with {right.verb} {right.resource}\n{started.node.log[-3000:]}"
            cluster.wait_for(lambda check=check: check(started), what, PASSES)  # type: ignore[misc]
        assert [one for one in cluster.control_plane.requests(started.user) if one.code == 403] == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("right", CHECKS, ids=lambda right: f"{right.verb}-{right.resource.replace('/', '-')}")
def test_without_one_right_its_check_fails(
    cluster: Cluster, registry: Registry, private: Registry, tmp_path: Path, right: Right
) -> None:
    check = CHECKS[right]
    with scenario(cluster, registry, private, tmp_path, without=right) as started:

        def is_refused() -> bool:
            if right in TRIGGERED:
                check(started)
            return 403 in started.requests(right)

        cluster.wait_for(is_refused, f"a refused {right.verb} of {right.resource}\n{started.node.log[-3000:]}", PASSES)
        assert not check(started)
