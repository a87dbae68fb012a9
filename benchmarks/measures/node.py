"""The cost of a Kubernetes node: memory and processor time with few and many Pods, and the time to a first answer.

    python -m benchmarks.measures.node --kubeconfig ADMIN --node-kubeconfig NODE --name NAME --image IMAGE

It starts `wagi-gateway node` in a cluster that is there, with the identity NODE (`system:node:NAME`), and creates Pods
of one module through kubectl. The time to the first answer is from the start of `kubectl create` to a response with
status 200, for an image that is pulled and for one that is in the node's store. Memory is the proportional set size
(PSS, proc(5)) of the node, which is its process and the fork server, and of its gateways; processor time is that of an
idle minute, and of the start of many Pods, which load of other programs changes little. A scrape is one of `/metrics`
by the certificate of `--scrape-cert`, if there is one.
`tests/cluster/test_costs.py` runs it with two Pods.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx

ADDRESS = "127.0.0.1"
DEADLINE = 600.0
"""Seconds for any state, at most."""
NAMESPACE = "wagi-node-benchmark"
SCRAPES = 5
MIB = 2**20


class Arguments(argparse.Namespace):
    """The command line."""

    kubeconfig: Path
    node_kubeconfig: Path
    kubectl: str
    name: str
    image: str
    scrape_cert: Path | None
    pods: int
    idle: float


class Usage(NamedTuple):
    """What processes use."""

    memory: int
    """PSS in bytes."""
    processor: float
    """User and system time in seconds."""


class Node:
    """A node of the cluster, and kubectl."""

    def __init__(self, arguments: Arguments, directory: Path) -> None:
        self._arguments, self._directory = arguments, directory
        self.port = free_port()
        self.process = self._start()

    def kubectl(self, *words: str, stdin: object = None) -> str:
        """The output of kubectl. Raises CalledProcessError."""
        command = [self._arguments.kubectl, "--kubeconfig", str(self._arguments.kubeconfig), *words]
        text = json.dumps(stdin) if stdin else ""
        return subprocess.run(command, input=text, check=True, stdout=subprocess.PIPE, text=True).stdout

    def create(self, names: Iterable[str]) -> list[str]:
        """Creates Pods; their URLs."""
        pods, urls = [], []
        for name in names:
            port = free_port()
            pods.append(pod(name, port, self._arguments))
            urls.append(f"http://{ADDRESS}:{port}/hello")
        self.kubectl("create", "-n", NAMESPACE, "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": pods})
        return urls

    def gateways(self) -> list[int]:
        """The processes of Pods, which the fork server of the node has forked: it names the state directory."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if os.fsencode(self._directory) in command and self.process.pid not in (int(entry.name), parent):
                found.append(int(entry.name))
        return found

    def own(self) -> list[int]:
        """The processes of the node itself: it and its fork server."""
        pid = self.process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def scrape(self, certificate: Path) -> tuple[int, float]:
        """Bytes of `/metrics`, and the node's processor time for it."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(certificate)
        before = usage(self.own()).processor
        for _ in range(SCRAPES):
            time.sleep(1.1)  # an answer is used again for a second
            url = f"https://{ADDRESS}:{self.port}/metrics"
            size = len(httpx.get(url, verify=context, trust_env=False, timeout=60).content)
        return size, (usage(self.own()).processor - before) / SCRAPES

    def stop(self) -> None:
        """Ends the node and its Pods."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in self.gateways():
            os.kill(pid, signal.SIGKILL)

    def _start(self) -> subprocess.Popen[bytes]:
        config = self._directory / "node.toml"
        config.write_text(
            f'name = "{self._arguments.name}"\nkubeconfig = "{self._arguments.node_kubeconfig.absolute()}"\n'
            f'state_directory = "{self._directory}/state"\naddresses = ["{ADDRESS}"]\nlisten = "{ADDRESS}"\n'
            f"port = {self.port}\nmax_pods = 500\nlease_duration = 8\n"
        )
        with (self._directory / "log").open("wb") as log:
            command = [sys.executable, "-m", "wagi_gateway", "node", str(config)]
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def main(words: list[str] | None = None) -> None:
    """Measures, and prints a table."""
    arguments = parse(words)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wagi-node-")))
        node = Node(arguments, directory)
        stack.callback(node.stop)
        node.kubectl("create", "namespace", NAMESPACE)
        stack.callback(node.kubectl, "delete", "namespace", NAMESPACE, "--wait=false")
        node.kubectl("wait", "--for=create", f"node/{arguments.name}", "--timeout=60s")
        node.kubectl("wait", "--for=condition=Ready", f"node/{arguments.name}", "--timeout=60s")
        wait_until(lambda: "not-ready" not in node.kubectl("get", "node", arguments.name, "-o", "json"), "no taint")
        report(idle(node, arguments.idle, 0))
        for label in ("pulled", "warm"):
            seconds = first_answer(node, label)
            print(f"first answer, {label:27} {seconds:8.2f} s")
            if label == "pulled":
                report(idle(node, arguments.idle, 1))
        started, before = time.monotonic(), (usage(node.own()).processor, usage(node.gateways()).processor)
        for url in node.create(f"many-{number}" for number in range(arguments.pods - 2)):
            wait_until(lambda url=url: answers(url), url)  # type: ignore[misc]
        own, gateways = usage(node.own()).processor - before[0], usage(node.gateways()).processor - before[1]
        print(f"all of {arguments.pods} Pods answer after {time.monotonic() - started:17.2f} s")
        print(f"processor time of that: node {own:.2f} s, gateways {gateways:.2f} s")
        if arguments.scrape_cert:
            size, seconds = node.scrape(arguments.scrape_cert)
            print(f"scrape of {arguments.pods} Pods: {size / 1024:.0f} KiB, processor time {seconds:.3f} s")
        report(idle(node, arguments.idle, arguments.pods))


def first_answer(node: Node, name: str) -> float:
    """Seconds from `kubectl create` to the first response of a Pod."""
    started = time.monotonic()
    (url,) = node.create([name])
    wait_until(lambda: answers(url), url)
    return time.monotonic() - started


def idle(node: Node, seconds: float, pods: int) -> list[str]:
    """What node and Pods use while nothing is requested."""
    before = {pid: usage([pid]).processor for pid in (*node.own(), *node.gateways())}
    time.sleep(seconds)
    rows = []
    for label, pids in (("node", node.own()), ("gateways", node.gateways())):
        used = usage(pids)
        processor = (used.processor - sum(before.get(pid, 0.0) for pid in pids)) * 60 / seconds
        what = f"{label} with {pods} Pods"
        rows.append(f"{what:40} {used.memory / MIB:8.1f} MiB {processor:8.2f} s/min")
    return rows


def report(rows: list[str]) -> None:
    """Prints rows at once."""
    print("\n".join(rows), flush=True)


def usage(pids: Iterable[int]) -> Usage:
    """What processes use together; one that has ended counts nothing."""
    memory, processor, tick = 0, 0.0, os.sysconf("SC_CLK_TCK")
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        memory += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
        processor += (int(fields[11]) + int(fields[12])) / tick
    return Usage(memory, processor)


def pod(name: str, port: int, arguments: Arguments) -> dict[str, Any]:
    """A WAGI Pod with one module."""
    modules = json.dumps({"hello": {"route": "/hello/..."}})
    annotations = {
        "alpha.wagi.krustlet.dev/default-host": f"{ADDRESS}:{port}",
        "alpha.wagi.krustlet.dev/modules": modules,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 5,
            "nodeSelector": {"kubernetes.io/hostname": arguments.name},
            "tolerations": [{"key": "kubernetes.io/arch", "operator": "Exists"}],
            "containers": [{"name": "hello", "image": arguments.image}],
        },
    }


def answers(url: str) -> bool:
    """Whether a Pod responds."""
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Returns when a condition holds. Raises TimeoutError."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


def free_port() -> int:
    """A port that no process listens on."""
    with socket.create_server((ADDRESS, 0)) as probe:
        return int(probe.getsockname()[1])


def parse(words: list[str] | None) -> Arguments:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kubeconfig", type=Path, required=True, help="of an administrator")
    parser.add_argument("--node-kubeconfig", type=Path, required=True, help="of the node")
    parser.add_argument("--name", required=True, help="of the node")
    parser.add_argument("--image", required=True, help="of a module that answers with 200")
    parser.add_argument("--scrape-cert", type=Path, help="certificate and key (PEM) of a client that may get /metrics")
    parser.add_argument("--kubectl", default="kubectl", help="path of kubectl")
    parser.add_argument("--pods", type=int, default=100, help="Pods of the last rows, at least 2 (default: 100)")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of an idle measurement (default: 60)")
    return parser.parse_args(words, Arguments())


if __name__ == "__main__":
    main()
