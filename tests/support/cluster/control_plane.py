"""The processes of a control plane on loopback: etcd, API server, scheduler and controller manager."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import ROOT, wait_until
from tests.support.cluster.certificates import Authority, write_kubeconfig, write_signing_key

HOST = "127.0.0.1"
START = 120.0
"""Seconds until the API server is ready, at most; usually 4."""
ATTEMPTS = 3
"""Starts of a control plane: another process may take one of its ports first."""
BOOTSTRAP_TOKEN = "abcdef.0123456789abcdef"
API_SERVER_KUBELET_CLIENT = "kubeadm:cluster-admins"
"""The group of the client certificate which the API server shows to nodes, as kubeadm names it."""
FRONT_PROXY = "front-proxy-client"
"""The name of the client certificate which the API server shows to extension API servers, as kubeadm has it."""

CONTROLLERS = (
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-signing-controller",
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "namespace-controller",
    "node-lifecycle-controller",
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "taint-eviction-controller",
)
GRACE = 8
"""Seconds without a heartbeat until the node controller sets Ready=Unknown; 50 by default."""


# The requests of nodes and ServiceAccounts, without bodies.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "userGroups": ["system:nodes", "system:serviceaccounts"]},
        {"level": "None"},
    ],
}


class Request(NamedTuple):
    """An audited request."""

    user: str
    verb: str
    resource: str
    """Such as `nodes`, or `nodes/status`."""
    code: int


class ControlPlane:
    """A control plane in a directory, which has its certificates, kubeconfig files and logs."""

    def __init__(self, directory: Path, binary: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.authority = Authority(directory)
        self._binary = binary
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._held_port: socket.socket | None = None
        hosts = (HOST, "localhost", "10.0.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        self.authority.server("apiserver", *hosts)
        self.authority.client("admin", "admin", "system:masters")
        self.authority.client("scheduler", "system:kube-scheduler")
        # One identity of all controllers: with one each they start 5 s later.
        self.authority.client("controller-manager", "system:kube-controller-manager", "system:masters")
        self.authority.client("to-kubelet", "kube-apiserver-kubelet-client", API_SERVER_KUBELET_CLIENT)
        self.authority.client("front-proxy", FRONT_PROXY)
        write_signing_key(directory)
        (directory / "audit-policy.json").write_text(json.dumps(AUDIT_POLICY))
        self._choose_ports()

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return f"https://{HOST}:{self.port}"

    def kubeconfig(self, name: str) -> Path:
        """The kubeconfig of `admin`, `scheduler`, `controller-manager`, or of a later `client`."""
        return self.directory / f"{name}.kubeconfig"

    def client(self, name: str, user: str, *groups: str) -> Path:
        """A kubeconfig with a client certificate for a user with groups."""
        self.authority.client(name, user, *groups)
        return self._write_kubeconfig(name)

    def with_token(self, name: str, token: str) -> Path:
        """A kubeconfig with a bearer token."""
        return write_kubeconfig(self.kubeconfig(name), self.server, self.authority.certificate, {"token": token})

    def start(self) -> None:
        """Starts all processes, and returns when the API server and the controllers work."""
        for attempt in range(1, ATTEMPTS + 1):
            self._start_etcd()
            self.start_api_server(check=False)
            if self._is_ready():
                break
            self.kill()
            assert attempt < ATTEMPTS, f"the API server ended:\n{self.log('kube-apiserver')[-4000:]}"
            self._choose_ports()
        self._start_controllers()
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        wait_until(lambda: self.status(account) == 200, START, lambda: self.log("kube-controller-manager")[-4000:])

    def start_api_server(self, *arguments: str, check: bool = True) -> None:
        """Starts the API server on the port that it had, with additional arguments, and waits until it is ready."""
        if self._held_port:
            self._held_port.close()
            self._held_port = None
        self.start_program("kube-apiserver", *self._api_server_arguments(), *arguments)
        wait_until(self._is_ready_or_ended, START, lambda: self.log("kube-apiserver")[-4000:])
        if check:
            assert self._is_ready(), self.log("kube-apiserver")[-4000:]

    def stop_api_server(self) -> None:
        """Kills the API server; at SIGTERM it would wait 60 s for open watches. Its port stays closed and reserved."""
        self.stop_program("kube-apiserver")
        self._held_port = socket.socket()
        self._held_port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held_port.bind((HOST, self.port))

    def restart_api_server(self, *arguments: str) -> None:
        """Kills and starts the API server; its watch cache is empty then, so old resource versions are answered 410."""
        self.stop_api_server()
        self.start_api_server(*arguments)

    def compact(self) -> None:
        """Has etcd forget all revisions but the current one (its JSON gateway: `/v3/kv/compaction`)."""
        revision = int(self._etcd_call("range", {"key": "AA=="})["header"]["revision"])
        self._etcd_call("compaction", {"revision": revision, "physical": True})

    def kill(self) -> None:
        """Kills all processes."""
        for name in list(self._processes):
            self.stop_program(name)
        if self._held_port:
            self._held_port.close()

    def start_program(self, name: str, *arguments: str) -> None:
        """Starts a program of the binary; it ends with the control plane."""
        with (self.directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                # The processes end with the tests, also if those are killed.
                ["setpriv", "--pdeathsig", "KILL", self._binary, name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
            )

    def stop_program(self, name: str) -> None:
        """Kills a program."""
        process = self._processes.pop(name)
        process.kill()
        process.wait(30)

    def pid(self, name: str) -> int:
        """The process id of a program."""
        return self._processes[name].pid

    def log(self, name: str) -> str:
        """The log of a program."""
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def requests(self, user: str) -> list[Request]:
        """The requests of a node or ServiceAccount so far, such as `system:serviceaccount:NAMESPACE:NAME`."""
        lines = self.log("audit").splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.endswith("\n") and user in line]
        return [_request(one) for one in found if one["user"]["username"] == user and "objectRef" in one]

    def status(self, path: str) -> int:
        """The status code of a GET by the administrator, and 0 if the API server is unreachable."""
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        context.load_cert_chain(self.directory / "admin.crt", self.directory / "admin.key")
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(self.server + path, timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def _etcd_call(self, method: str, body: dict[str, object]) -> dict[str, Any]:
        request = urllib.request.Request(f"http://{HOST}:{self._etcd}/v3/kv/{method}", json.dumps(body).encode())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as response:
            return dict(json.load(response))

    def _choose_ports(self) -> None:
        with ExitStack() as stack:
            probes = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(3)]
            self._etcd, self._etcd_peers, self.port = (int(probe.getsockname()[1]) for probe in probes)
        for name in ("admin", "scheduler", "controller-manager"):
            self._write_kubeconfig(name)

    def _write_kubeconfig(self, name: str) -> Path:
        files = {"client-certificate": f"{self.directory}/{name}.crt", "client-key": f"{self.directory}/{name}.key"}
        return write_kubeconfig(self.kubeconfig(name), self.server, self.authority.certificate, files)

    def _is_ready(self) -> bool:
        return self.status("/readyz") == 200

    def _is_ready_or_ended(self) -> bool:
        return any(process.poll() is not None for process in self._processes.values()) or self._is_ready()

    def _start_etcd(self) -> None:
        shutil.rmtree(self.directory / "etcd", ignore_errors=True)
        clients, peers = f"http://{HOST}:{self._etcd}", f"http://{HOST}:{self._etcd_peers}"
        self.start_program(
            "etcd",
            f"--data-dir={self.directory}/etcd",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
            "--log-level=error",
        )

    def _api_server_arguments(self) -> list[str]:
        here = self.directory
        return [
            f"--etcd-servers=http://{HOST}:{self._etcd}",
            f"--bind-address={HOST}",
            f"--secure-port={self.port}",
            f"--cert-dir={here}",
            f"--tls-cert-file={here}/apiserver.crt",
            f"--tls-private-key-file={here}/apiserver.key",
            f"--client-ca-file={here}/ca.crt",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--enable-bootstrap-token-auth",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={here}/sa.pub",
            f"--service-account-signing-key-file={here}/sa.key",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--kubelet-client-certificate={here}/to-kubelet.crt",
            f"--kubelet-client-key={here}/to-kubelet.key",
            "--kubelet-preferred-address-types=InternalIP,Hostname",
            f"--requestheader-client-ca-file={here}/ca.crt",
            f"--requestheader-allowed-names={FRONT_PROXY}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={here}/front-proxy.crt",
            f"--proxy-client-key-file={here}/front-proxy.key",
            "--profiling=false",
            f"--audit-policy-file={here}/audit-policy.json",
            f"--audit-log-path={here}/audit.log",
        ]

    def _start_controllers(self) -> None:
        here = self.directory
        common = ("--leader-elect=false", "--secure-port=0")
        self.start_program("kube-scheduler", f"--kubeconfig={self.kubeconfig('scheduler')}", *common)
        self.start_program(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig('controller-manager')}",
            *common,
            "--use-service-account-credentials=false",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            f"--cluster-signing-cert-file={here}/ca.crt",
            f"--cluster-signing-key-file={here}/ca.key",
            f"--service-account-private-key-file={here}/sa.key",
            f"--root-ca-file={here}/ca.crt",
            "--node-monitor-period=1s",
            f"--node-monitor-grace-period={GRACE}s",
            "--horizontal-pod-autoscaler-sync-period=1s",
            f"--controllers={','.join(CONTROLLERS)}",
        )


def _request(event: dict[str, Any]) -> Request:
    target = event["objectRef"]
    resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
    return Request(event["user"]["username"], event["verb"], resource, event.get("responseStatus", {}).get("code", 0))


@contextmanager
def running_control_plane(directory: Path) -> Iterator[ControlPlane]:
    """Runs a control plane until the context ends."""
    control_plane = ControlPlane(directory, Path(printed_by("control_plane/build")))
    try:
        control_plane.start()
        yield control_plane
    finally:
        control_plane.kill()


def printed_by(script: str) -> str:
    """The path that a script of tests/cluster prints; its failure fails the test rather than skipping it."""
    result = subprocess.run([ROOT / "tests" / "cluster" / script], capture_output=True, text=True)
    if result.returncode:
        pytest.fail(f"tests/cluster/{script} failed:\n{result.stderr}", pytrace=False)
    return result.stdout.strip()
