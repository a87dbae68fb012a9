"""A test cluster as its users see it: kubectl and helm on a control plane."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import wait_until
from tests.support.cluster.control_plane import (
    API_SERVER_KUBELET_CLIENT,
    ControlPlane,
    printed_by,
    running_control_plane,
)

Object = dict[str, Any]
TIMEOUT = 120.0
"""Seconds of a command, at most."""


INTERVAL = 0.25
"""Seconds between two checks of a condition: each kubectl takes a tenth of a second of a processor."""


class CommandFailed(AssertionError):
    """A command of kubectl or helm failed; the message has its output."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running control plane, and kubectl and helm of its version."""

    control_plane: ControlPlane
    programs: Path
    """The directory of kubectl and helm."""

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the administrator."""
        return self.control_plane.kubeconfig("admin")

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a shell with kubectl and helm, as the administrator's."""
        home = self.control_plane.directory / "home"
        return {
            "HOME": str(home),
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
        }

    def kubectl(self, *arguments: str | Path, stdin: str | Object | None = None, user: Path | None = None) -> str:
        """Runs kubectl, and returns its standard output; an object as `stdin` is written as JSON.

        `user` is the kubeconfig of another user than the administrator. Raises CommandFailed.
        """
        identity = ("--kubeconfig", str(user)) if user else ()
        return self._run("kubectl", *identity, *arguments, stdin=stdin)

    def helm(self, *arguments: str | Path) -> str:
        """Runs helm, and returns its standard output; raises CommandFailed."""
        return self._run("helm", *arguments)

    def apply(self, *objects: Object, user: Path | None = None) -> None:
        """Applies objects."""
        documents = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", stdin=documents, user=user)

    def patch_status(self, kind: str, name: str, status: Object, namespace: str = "default") -> None:
        """Patches the status of an object, as a kubelet does."""
        patch = json.dumps({"status": status})
        self.kubectl("patch", kind, name, "-n", namespace, "--subresource=status", "--patch", patch)

    def get(self, kind: str, name: str, namespace: str = "default") -> Object:
        """One object; raises CommandFailed if there is none."""
        return dict(json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json")))

    def list(self, kind: str, namespace: str = "default", *arguments: str) -> list[Object]:
        """The objects of a namespace; `arguments` are further ones of `kubectl get`, such as `-l` and a selector."""
        return list(json.loads(self.kubectl("get", kind, "-n", namespace, "-o", "json", *arguments))["items"])

    def jsonpath(self, kind: str, name: str, path: str, namespace: str = "default") -> str:
        """The text of a JSONPath such as `{.status.phase}`, empty if there is no such object or field."""
        return self.kubectl("get", kind, name, "-n", namespace, "--ignore-not-found", "-o", f"jsonpath={path}")

    def events(self, name: str, namespace: str = "default") -> dict[str, str]:
        """The events of an object: the last message of each reason."""
        found = self.list("events", namespace, "--field-selector", f"involvedObject.name={name}")
        return {event["reason"]: event["message"] for event in found}

    def wait_for(self, condition: Callable[[], object], what: str, timeout: float = 60.0, pod: str = "") -> None:
        """Waits until a condition holds; the failure describes a Pod, given as `NAMESPACE/NAME`, or all Pods."""
        message = f"never in {timeout:.0f} s: {what}"
        wait_until(lambda: bool(condition()), timeout, lambda: f"{message}\n{self._seen(pod)}", INTERVAL)

    def token(self, namespace: str, service_account: str) -> str:
        """A token of a ServiceAccount."""
        return self.kubectl("create", "token", service_account, "-n", namespace).strip()

    def service_account(self, namespace: str, name: str) -> Path:
        """A kubeconfig with a token of a ServiceAccount."""
        return self.control_plane.with_token(f"{namespace}-{name}", self.token(namespace, name))

    def new_namespace(self) -> str:
        """A new namespace, in which Pods may be created; it is deleted with the cluster."""
        name = f"test-{uuid.uuid4().hex[:10]}"
        self.kubectl("create", "namespace", name)
        self.wait_for(lambda: self.jsonpath("serviceaccount", "default", "{.metadata.name}", name), f"{name}/default")
        return name

    def _seen(self, pod: str) -> str:
        namespace, _, name = pod.partition("/")
        command = (
            ("describe", "pod", name, "-n", namespace) if pod else ("get", "nodes,pods,events", "-A", "-o", "wide")
        )
        try:
            return self.kubectl(*command)
        except CommandFailed as error:
            return str(error)

    def _run(self, program: str, *arguments: str | Path, stdin: str | Object | None = None) -> str:
        result = subprocess.run(
            [self.programs / program, *arguments],
            input=json.dumps(stdin) if isinstance(stdin, dict) else stdin or "",
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=TIMEOUT,
        )
        if result.returncode:
            command = " ".join([program, *map(str, arguments)])
            raise CommandFailed(f"{command}: exit code {result.returncode}\n{result.stdout}{result.stderr}")
        return result.stdout


@contextmanager
def running_cluster(directory: Path) -> Iterator[Cluster]:
    """Runs a cluster without nodes until the context ends."""
    programs = Path(printed_by("tools"))
    with running_control_plane(directory) as control_plane:
        (directory / "home").mkdir()
        cluster = Cluster(control_plane, programs)
        # The API server's client certificate towards nodes may do what kubeadm lets it.
        binding = ("clusterrolebinding", "test-apiserver-to-kubelet", "--clusterrole=cluster-admin")
        cluster.kubectl("create", *binding, f"--group={API_SERVER_KUBELET_CLIENT}")
        yield cluster
