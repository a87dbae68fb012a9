"""The rights of the node in the cluster are enough and minimal: without any single one something breaks.

One node with the shipped rights serves all tests. A test takes one right away, sees the API server refuse the node,
checks what a user sees then, and gives the right back.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import httpx
import pytest
import yaml

from tests.conftest import ROOT
from tests.support.cluster.article import publish_modules
from tests.support.cluster.cluster import Cluster, Object
from tests.support.cluster.node import Node, running_node
from tests.support.cluster.pods import hello, row, wagi_pod, wait_for_row
from tests.support.nginx import free_addresses
from tests.support.registry import PASSWORD, USERNAME, Registry, running_registry

RULES = ROOT / "deploy" / "kubernetes" / "node" / "rbac.yaml"
ACCOUNT, NODE = "wagi-gateway-node", "wagi-rbac"
REFUSALS = 2
"""Refused requests, after which what a user sees will stay so."""
READY = "{.status.conditions[?(@.type=='Ready')].status}"
NO_TOKEN = {"automountServiceAccountToken": False}
UNREADY = {"readinessProbe": {"httpGet": {"path": "/none", "port": 1}, "periodSeconds": 1}}


class Right(NamedTuple):
    """One verb of one resource."""

    resource: str
    verb: str


TOKENS = Right("serviceaccounts/token", "create")
"""The right that is not shipped: whoever has it is every ServiceAccount."""


class Scenario:
    """A node with the rights of a ServiceAccount, and a Pod that runs on it."""

    def __init__(self, node: Node, namespace: str, registry: Registry, private: Registry) -> None:
        self.node, self.cluster, self.namespace = node, node.cluster, namespace
        self._registry, self._private = registry, private
        self._seen = 0

    @property
    def user(self) -> str:
        """The user name of the node's ServiceAccount."""
        return f"system:serviceaccount:{self.namespace}:{ACCOUNT}"

    @contextmanager
    def without(self, right: Right) -> Iterator[None]:
        """The node lacks a right, until the context ends."""
        self.cluster.apply(*rights(self.namespace, without=right))
        self._seen = len(self.cluster.control_plane.requests(self.user))
        try:
            yield
        finally:
            self.cluster.apply(*rights(self.namespace))

    def codes(self, right: Right) -> list[int]:
        """The status codes of the node's requests that need a right, since it was taken away."""
        found = self.cluster.control_plane.requests(self.user)[self._seen :]
        return [one.code for one in found if (one.resource, one.verb) == (right.resource, right.verb)]

    def create(self, name: str, change: Object | None = None, *, of_private: bool = False) -> None:
        """Creates a Pod; `change` is of its container, or of its `spec` with `automountServiceAccountToken`."""
        ((host, port),) = free_addresses(1)
        images = hello((self._private if of_private else self._registry).address)
        pod = wagi_pod(name, f"{host}:{port}", images, node=NODE)
        pod["spec"]["terminationGracePeriodSeconds"] = 1
        if of_private:
            pod["spec"]["containers"][0]["imagePullPolicy"] = "Always"
        change = change or {}
        (pod["spec"] if "automountServiceAccountToken" in change else pod["spec"]["containers"][0]).update(change)
        self.cluster.kubectl("create", "-n", self.namespace, "-f", "-", stdin=pod)

    def create_with_an_account(self, name: str) -> None:
        """Creates a Pod whose ServiceAccount gets its imagePullSecret later: admission has not copied that."""
        self.cluster.kubectl("create", "serviceaccount", name, "-n", self.namespace)
        self.create(name, {"serviceAccountName": name, **NO_TOKEN}, of_private=True)
        patch = json.dumps({"imagePullSecrets": [{"name": "login"}]})
        self.cluster.kubectl("patch", "serviceaccount", name, "-n", self.namespace, "--patch", patch)

    def delete(self, name: str) -> None:
        """Deletes a Pod, and waits for its end."""
        self.cluster.kubectl("delete", "pod", name, "-n", self.namespace, "--ignore-not-found")

    def is_running(self, pod: str) -> bool:
        """Whether kubectl shows a Pod as ready."""
        return row(self.cluster, pod, self.namespace) == ["1/1", "Running"]

    def pod_field(self, pod: str, path: str) -> str:
        """A field of a Pod."""
        return self.cluster.jsonpath("pod", pod, path, self.namespace)

    def node_field(self, path: str) -> str:
        """A field of the Node."""
        return self.cluster.jsonpath("node", NODE, path)

    def lease_field(self, path: str) -> str:
        """A field of the Lease."""
        return self.cluster.jsonpath("lease", NODE, path, "kube-node-lease")

    def restart(self) -> None:
        """Kills the node and starts another process; its Pods are adopted."""
        self.node.kill()
        self.node.start()

    def pods_as(self, account: str) -> int:
        """The status of `/pods` of the node's API for a new token of a new ServiceAccount, an administrator."""
        if not self.cluster.jsonpath("serviceaccount", account, "{.metadata.name}", self.namespace):
            self.cluster.kubectl("create", "serviceaccount", account, "-n", self.namespace)
            subject = f"--serviceaccount={self.namespace}:{account}"
            self.cluster.kubectl(
                "create", "clusterrolebinding", f"{NODE}-{account}", "--clusterrole=cluster-admin", subject
            )
        port = self.node_field("{.status.daemonEndpoints.kubeletEndpoint.Port}")
        headers = {"Authorization": f"Bearer {self.cluster.token(self.namespace, account)}"}
        url = f"https://127.0.0.1:{port}/pods"
        return httpx.get(url, headers=headers, verify=False, trust_env=False, timeout=30).status_code


class Case(NamedTuple):
    """What needs a right, and what a user sees without it."""

    begin: Callable[[Scenario], object]
    """Does what makes the node use the right."""
    is_broken: Callable[[Scenario], bool]
    """Whether a user sees that the right is missing, after REFUSALS."""
    is_mended: Callable[[Scenario], bool] | None = None
    """Whether all is well again with the right; None where that takes a delay between attempts, or never comes."""


def env(source: str) -> Object:
    reference = {source: {"name": "rbac", "key": "text"}}
    return {"env": [{"name": "TEXT", "valueFrom": reference}]}


def nothing(_: Scenario) -> None:
    """The node uses the right by itself."""


def is_ready(one: Scenario) -> bool:
    return one.node_field(READY) == "True"


def is_registered(one: Scenario) -> bool:
    return one.node_field("{.metadata.name}") == NODE


def is_silent(one: Scenario) -> bool:
    """Whether the Lease is not renewed while further requests are refused."""
    before, right = one.lease_field("{.spec.renewTime}"), _current(one)
    count = len(one.codes(right))
    one.cluster.wait_for(lambda: len(one.codes(right)) >= count + REFUSALS, "further refusals", 30)
    return one.lease_field("{.spec.renewTime}") == before


def _current(one: Scenario) -> Right:
    """The right that is missing."""
    return next(right for right in CASES if 403 in one.codes(right))


def is_renewed(one: Scenario) -> bool:
    before = one.lease_field("{.spec.renewTime}")
    one.cluster.wait_for(lambda: one.lease_field("{.spec.renewTime}") not in ("", before), "a renewal", 30)
    return True


def is_waiting_for_a_right(pod: str) -> Callable[[Scenario], bool]:
    path = "{.status.containerStatuses[0].state.waiting.message}"
    return lambda one: "is forbidden" in one.pod_field(pod, path)


def has_event(pod: str, reason: str) -> Callable[[Scenario], bool]:
    return lambda one: reason in one.cluster.events(pod, one.namespace)


def unhealthy(one: Scenario) -> int:
    """How often the event of a failed probe was counted."""
    found = one.cluster.list("events", one.namespace, "--field-selector", "reason=Unhealthy")
    return max((event.get("count", 0) for event in found if event["involvedObject"]["name"] == "unready"), default=0)


def marked(one: Scenario) -> None:
    """Writes what the node controller writes after a gap."""
    ready = {"type": "Ready", "status": "Unknown", "reason": "Test", "message": ""}
    one.cluster.patch_status("node", NODE, {"conditions": [ready]})


CASES: dict[Right, Case] = {
    # The Node is not there, and does not come back after it was deleted.
    Right("nodes", "create"): Case(
        lambda one: one.cluster.kubectl("delete", "node", NODE), lambda one: not is_registered(one), is_ready
    ),
    # The Node becomes NotReady: neither its status nor its Lease is renewed.
    Right("nodes", "get"): Case(nothing, is_silent, is_renewed),
    # Labels and taints that others change stay so: WAGI Pods are not scheduled any more.
    Right("nodes", "patch"): Case(
        lambda one: one.cluster.kubectl("label", "node", NODE, "type=other", "--overwrite"),
        lambda one: one.node_field("{.metadata.labels.type}") == "other",
        lambda one: one.node_field("{.metadata.labels.type}") == "wagi-gateway",
    ),
    # The Node stays NotReady after a gap.
    Right("nodes/status", "patch"): Case(marked, lambda one: one.node_field(READY) == "Unknown", is_ready),
    # The Lease does not come back after it was deleted: NotReady.
    Right("leases", "create"): Case(
        lambda one: one.cluster.kubectl("delete", "lease", NODE, "-n", "kube-node-lease"),
        lambda one: not one.lease_field("{.metadata.name}"),
        is_renewed,
    ),
    # The Lease is not renewed any more once anything else has changed it: NotReady.
    Right("leases", "get"): Case(
        lambda one: one.cluster.kubectl("annotate", "lease", NODE, "-n", "kube-node-lease", "a=b", "--overwrite"),
        is_silent,
        is_renewed,
    ),
    # The Lease is not renewed: NotReady.
    Right("leases", "update"): Case(nothing, is_silent, is_renewed),
    # Pods stay Pending or ContainerCreating, although they run.
    Right("pods/status", "patch"): Case(
        lambda one: one.create("unstated"),
        lambda one: one.pod_field("unstated", "{.status.phase}") == "Pending",
        lambda one: one.is_running("unstated"),
    ),
    # `kubectl describe pod` shows no event of the node.
    Right("events", "create"): Case(
        lambda one: one.create("silent", UNREADY), lambda one: not has_event("silent", "Pulled")(one)
    ),
    # Repeated events are shown once.
    Right("events", "patch"): Case(lambda one: one.create("unready", UNREADY), lambda one: unhealthy(one) == 1),
    # A Pod that names a ConfigMap waits for it.
    Right("configmaps", "get"): Case(
        lambda one: one.create("no-configmap", env("configMapKeyRef")), is_waiting_for_a_right("no-configmap")
    ),
    # A Pod that names a Secret waits for it.
    Right("secrets", "get"): Case(
        lambda one: one.create("no-secret", env("secretKeyRef")), is_waiting_for_a_right("no-secret")
    ),
    # A Pod waits for it, unless it has `enableServiceLinks: false`.
    Right("services", "list"): Case(lambda one: one.create("no-services"), is_waiting_for_a_right("no-services")),
    # imagePullSecrets of the ServiceAccount that are younger than the Pod are not used.
    Right("serviceaccounts", "get"): Case(
        lambda one: one.create_with_an_account("no-account"), has_event("no-account", "Failed")
    ),
    # Clients of the node's API with a token, such as Prometheus, get 401.
    Right("tokenreviews", "create"): Case(
        lambda one: [one.pods_as("reviewed") for _ in range(REFUSALS)],
        lambda one: one.pods_as("reviewed") == 401,
        lambda one: one.pods_as("reviewed") == 200,
    ),
    # `kubectl logs`, `exec` and `top` get 500.
    Right("subjectaccessreviews", "create"): Case(
        lambda one: [one.pods_as("authorized") for _ in range(REFUSALS)],
        lambda one: one.pods_as("authorized") == 500,
        lambda one: one.pods_as("authorized") == 200,
    ),
    # A deleted Pod stays Terminating.
    Right("pods", "delete"): Case(
        lambda one: one.cluster.kubectl("delete", "pod", "plain", "-n", one.namespace, "--wait=false"),
        lambda one: bool(one.pod_field("plain", "{.metadata.deletionTimestamp}")),
        lambda one: not row(one.cluster, "plain", one.namespace),
    ),
    # A node that starts does not become Ready: it does not know its Pods.
    Right("pods", "list"): Case(Scenario.restart, lambda one: not is_ready(one), is_ready),
    # New Pods are seen late, by a list after each failure, as the node's log says.
    Right("pods", "watch"): Case(
        Scenario.restart, lambda one: 'cannot watch resource "pods"' in one.node.log, lambda one: one.is_running("last")
    ),
}
"""Each right, and what a user sees without it."""


def shipped() -> list[Object]:
    """The objects of rbac.yaml."""
    return list(yaml.safe_load_all(RULES.read_text()))


def rights(namespace: str, without: Right | None = None) -> list[Object]:
    """The shipped objects for the node of these tests, and without one right."""
    objects = copy.deepcopy(shipped())
    for one in objects:
        one["metadata"]["name"] = NODE
        if "roleRef" in one:
            one["roleRef"]["name"], one["subjects"][0]["namespace"] = NODE, namespace
        rules: list[Object] = []
        for rule in one.get("rules", ()):
            if "resourceNames" in rule:
                rule["resourceNames"] = [NODE]
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


@pytest.fixture(scope="module")
def scenario(
    cluster: Cluster, registry: Registry, private: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scenario]:
    """A node with the shipped rights, and its Pod `plain`."""
    namespace = cluster.new_namespace()
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": namespace}}
    cluster.apply(account, *rights(namespace))
    for kind in (["configmap"], ["secret", "generic"]):
        cluster.kubectl("create", *kind, "rbac", "-n", namespace, "--from-literal=text=x")
    login = ("--docker-username", USERNAME, "--docker-password", PASSWORD)
    secret = ("secret", "docker-registry", "login", f"--docker-server={private.address}", *login)
    cluster.kubectl("create", *secret, "-n", namespace)
    identity = cluster.service_account(namespace, ACCOUNT)
    trust = f'[registries."{private.address}"]\nca_file = "{private.ca_file}"'
    directory = tmp_path_factory.mktemp("rbac")
    with running_node(cluster, directory, NODE, kubeconfig=identity, tables=trust) as node:
        started = Scenario(node, namespace, registry, private)
        started.create("plain")
        wait_for_row(cluster, "plain", namespace, "1/1", "Running")
        yield started
        cluster.kubectl("delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")


def test_every_right_has_a_case() -> None:
    found = [
        Right(resource, verb)
        for one in shipped()
        for rule in one.get("rules", ())
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
    assert sorted(found) == sorted(CASES)


def test_all_rights_are_enough(scenario: Scenario) -> None:
    """For Pods that name every kind of object; one with the token that admission adds goes without it."""
    pods = {"configmap": env("configMapKeyRef"), "secret": env("secretKeyRef"), "token": {**NO_TOKEN}}
    pods["token"]["automountServiceAccountToken"] = True
    for name, change in pods.items():
        scenario.create(name, change)
    scenario.create_with_an_account("account")
    for name in (*pods, "account"):
        wait_for_row(scenario.cluster, name, scenario.namespace, "1/1", "Running")
    assert has_event("token", "TokenForbidden")(scenario)
    scenario.cluster.kubectl("logs", "plain", "-n", scenario.namespace, "--insecure-skip-tls-verify-backend")
    assert scenario.pods_as("first") == 200
    for name in (*pods, "account"):
        scenario.delete(name)
    refused = [one for one in scenario.cluster.control_plane.requests(scenario.user) if one.code == 403]
    assert {Right(one.resource, one.verb) for one in refused} == {TOKENS}


def test_a_token_that_a_pod_names_needs_a_further_right(scenario: Scenario) -> None:
    cluster, namespace = scenario.cluster, scenario.namespace
    source = {"projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "vault"}}]}}
    scenario.create("named", {**NO_TOKEN, "volumes": [{"name": "vault", **source}]})
    cluster.wait_for(lambda: has_event("named", "FailedMount")(scenario), "FailedMount")
    assert "no right to request a token" in cluster.events("named", namespace)["FailedMount"]
    cluster.kubectl("create", "role", "tokens", "-n", namespace, "--verb=create", "--resource=serviceaccounts/token")
    subject = f"--serviceaccount={namespace}:{ACCOUNT}"
    cluster.kubectl("create", "rolebinding", "tokens", "-n", namespace, "--role=tokens", subject)
    wait_for_row(cluster, "named", namespace, "1/1", "Running")
    scenario.delete("named")


@pytest.mark.parametrize("right", CASES, ids=lambda right: f"{right.verb}-{right.resource.replace('/', '-')}")
def test_without_one_right(scenario: Scenario, right: Right) -> None:
    case, cluster = CASES[right], scenario.cluster
    what = f"{right.verb} {right.resource}"
    with scenario.without(right):
        case.begin(scenario)
        wanted = 1 if right.resource in ("events", "serviceaccounts") else REFUSALS
        cluster.wait_for(lambda: scenario.codes(right).count(403) >= wanted, f"a refused {what}")
        cluster.wait_for(lambda: case.is_broken(scenario), f"what is broken without {what}", 20)
    if right.verb == "watch":
        scenario.create("last")
    if case.is_mended:
        mended = case.is_mended
        cluster.wait_for(lambda: mended(scenario), f"all is well with {what}\n{scenario.node.log[-3000:]}")
