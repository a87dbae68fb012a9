"""`wagi-gateway node` in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster.cluster import Cluster, Object

LEASE = "4s"
"""The duration of the Lease, of which the node controller of the tests knows 8 seconds."""
END = 60.0


@dataclass(slots=True)
class NodeProcess:
    """A node of the cluster."""

    cluster: Cluster
    name: str
    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What the node has written to its log."""
        return (self.directory / "log").read_text(errors="replace")

    def condition(self, type: str = "Ready") -> str:  # noqa: A002
        """The status of a condition; empty without the Node."""
        return self.cluster.jsonpath("node", self.name, f'{{.status.conditions[?(@.type=="{type}")].status}}')

    def node(self) -> Object:
        """The Node object."""
        return self.cluster.get("node", self.name)

    def wait_until_ready(self) -> None:
        """Waits until the Node is Ready."""
        self.cluster.wait_for(lambda: self.condition() == "True" or self._has_ended(), f"Ready\n{self.log}")
        assert not self._has_ended(), self.log

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        return self.process.wait(END)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(END)

    def _has_ended(self) -> bool:
        return self.process.poll() is not None


@contextmanager
def running_node(
    cluster: Cluster, name: str, directory: Path, kubeconfig: Path, arguments: Sequence[str | Path] = (), text: str = ""
) -> Iterator[NodeProcess]:
    """Runs a node with a state directory in `directory`; `text` is the beginning of its file of options."""
    directory.mkdir(parents=True, exist_ok=True)
    options = directory / "node.toml"
    options.write_text(f'{text}\nlease_duration = "{LEASE}"\n')
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "wagi_gateway",
        "node",
        options,
        "--name",
        name,
        "--kubeconfig",
        kubeconfig,
    ]
    command += ["--state-dir", directory / "state", "--pod-ip", "192.0.2.77", "--address", "127.0.0.1", *arguments]
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield NodeProcess(cluster, name, directory, process)
    finally:
        process.kill()
        process.wait(END)
