"""`wagi-gateway node` in a process, as a node of a test cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster.article import REGISTRY
from tests.support.cluster.cluster import Cluster
from tests.support.nginx import free_addresses

ADDRESS = "127.0.0.1"
"""The address of each node: the API server reaches it there, for logs."""
POD_IP = "192.0.2.77"
"""The address of Pods, a value only: EndpointSlices refuse loopback addresses."""
LEASE = 8
"""Seconds of the Lease: the test cluster sets Ready=Unknown after 8 s without a heartbeat."""
START = 60.0
END = 60.0
"""Seconds until a node that was stopped has ended, at most."""


@dataclass(slots=True)
class Node:
    """A node: its files, and its process while it runs."""

    cluster: Cluster
    name: str
    directory: Path
    kubeconfig: Path
    options: str
    """Further lines of its file of options."""
    identity: str = "--kubeconfig"
    """The option for `kubeconfig`."""
    prefix: tuple[str, ...] = ()
    """A prefix of its command, such as one that runs it in a network namespace."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.directory / "state"

    @property
    def log(self) -> str:
        """What the node has written to its standard error so far."""
        return (self.directory / "log").read_text(errors="replace")

    def start(self, *arguments: str) -> None:
        """Starts the process."""
        config = self.directory / "node.toml"
        config.write_text(self.options)
        command = [*self.prefix, sys.executable, "-m", "wagi_gateway", "node", str(config), "--name", self.name]
        command += [self.identity, str(self.kubeconfig), "--state-dir", str(self.state)]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"HOME": str(self.directory)},
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Waits until the cluster shows the node as Ready and without the taint of a node that is not."""
        path = "{.status.conditions[?(@.type=='Ready')].status} {.spec.taints[*].key}"

        def is_ready() -> bool:
            assert self.process
            assert self.process.poll() is None, f"the node ended with {self.process.returncode}:\n{self.log}"
            status, _, taints = self.cluster.jsonpath("node", self.name, path).partition(" ")
            return status == "True" and "node.kubernetes.io/" not in taints

        self.cluster.wait_for(is_ready, f"node {self.name} Ready; its log:\n{self.log}", START)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process of the node alone."""
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kills the process of the node, and leaves those of its Pods."""
        self.send(signal.SIGKILL)
        assert self.process
        self.process.wait(10)

    def stop(self) -> int:
        """Stops the node with SIGTERM, and returns its exit code."""
        assert self.process
        self.send(signal.SIGTERM)
        return self.process.wait(END)

    def gateways(self) -> set[int]:
        """The process ids of the Pods of the node: its fork server, which names its state directory, forks them."""
        found = set()
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended
                continue
            is_node = self.process and self.process.pid in (int(entry.name), parent)
            if bytes(self.state) in command and not is_node:
                found.add(int(entry.name))
        return found

    def end(self) -> None:
        """Ends the node and its Pods, whatever state they are in."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for pid in self.gateways():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@contextmanager
def a_node(
    cluster: Cluster,
    directory: Path,
    name: str,
    *,
    mirror: str | None = None,
    options: str = "",
    tables: str = "",
    kubeconfig: Path | None = None,
    prefix: tuple[str, ...] = (),
    lease: float = LEASE,
    port: int | None = None,
) -> Iterator[Node]:
    """A node with the identity of a node, which is started by `start`; it and its Pods end with the context.

    `mirror` stands for the registry of the article; `options` and `tables` are TOML; `port` is that of its API, or a
    free one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ((_, free),) = free_addresses(1)
    lines = [
        f'addresses = ["{ADDRESS}"]',
        f'listen = "{ADDRESS}"',
        f"port = {port or free}",
        f'pod_ip = "{POD_IP}"',
        f"lease_duration = {lease}",
        options,
    ]
    if mirror:
        lines += [f'[registries."{REGISTRY}"]', f'mirror = "{mirror}"']
    lines.append(tables)
    identity = kubeconfig or cluster.control_plane.client(f"node-{name}", f"system:node:{name}", "system:nodes")
    node = Node(cluster, name, directory, identity, "\n".join(lines), prefix=prefix)
    try:
        yield node
    finally:
        node.end()


@contextmanager
def running_node(cluster: Cluster, directory: Path, name: str, **options: object) -> Iterator[Node]:
    """A node that is Ready, as `a_node`; its object is deleted with the context."""
    with a_node(cluster, directory, name, **options) as node:  # type: ignore[arg-type]
        try:
            node.start()
            node.wait_ready()
            yield node
        finally:
            cluster.kubectl("delete", "node", name, "--ignore-not-found", "--wait=false")
