"""`kubectl logs` and `kubectl exec` through a real API server, and clients with tokens, at the API of a node whose Node
and Pod are written by hand."""

from __future__ import annotations

import datetime as dt
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from lightkube import KubeConfig

from tests.conftest import wait_until
from tests.support import guests
from tests.support.cluster.cluster import Cluster, CommandFailed, Object
from tests.support.config import guest
from tests.support.node_api import HOST, Pods, serving
from wagi_gateway.node.client import LightkubeApi
from wagi_gateway.node.server.app import create_node_app
from wagi_gateway.observe.log_file import Rotation, append

NODE, POD = "wagi-api", "demo"
READS = guests.says(guests.CONTENT_TYPE, imports=guests.FD_READ, stderr=b"reads\n", then="(call $read)").replace(
    guests.WRITE, guests.WRITE + guests.READS.removeprefix(guests.FD_READ)
)
MODULES = {
    "hello": guests.says(guests.CONTENT_TYPE + b"hello\n", stderr=b"said\n"),
    "trap": guests.TRAP,
    "reads": READS,
    "waits": guests.HELLO,
}


@dataclass(frozen=True)
class ByHand:
    """The Pod `demo` in the namespace `default`, and the port of its node's API."""

    cluster: Cluster
    pods: Pods
    logs: Path
    port: int

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl(*arguments, stdin=stdin)

    def write(self, *texts: str, tag: str = "F") -> None:
        """Appends lines to the log of `hello`, a second apart, the last one just now."""
        now = dt.datetime.now(dt.UTC)
        for number, text in enumerate(texts, start=1 - len(texts)):
            time_ = now + dt.timedelta(seconds=number)
            line = f"{time_:%Y-%m-%dT%H:%M:%S.%f}000Z stderr {tag} {text}\n"
            append(self.logs / "1.log", line.encode(), Rotation(4096, 5))


@pytest.fixture(scope="module")
def by_hand(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ByHand]:
    directory = tmp_path_factory.mktemp("by-hand")
    pods = Pods()
    configuration = f'[cache]\ndirectory = "{directory}/cache"\n'
    for name, text in MODULES.items():
        (directory / f"{name}.wat").write_text(text)
        configuration += guest(f"/{name}/...", name)
        pods.add(POD, name, directory / name / "1.log", configuration=directory / "modules.toml", route=f"/{name}/...")
    (directory / "modules.toml").write_text(configuration)
    pods.change(POD, "waits", waiting="ContainerCreating")
    control_plane = cluster.control_plane
    identity = control_plane.client("node-by-hand", f"system:node:{NODE}", "system:nodes")
    config = KubeConfig.from_file(identity).get()
    assert config
    control_plane.authority.server("node", HOST)
    api = LightkubeApi(config)
    with serving(
        create_node_app(NODE, api, pods), api, control_plane.directory, control_plane.authority.certificate
    ) as (_, port):
        cluster.apply(_node(port), _pod())
        cluster.kubectl("patch", "pod", POD, "--subresource=status", "--type=merge", "-p", _STATUS)
        yield ByHand(cluster, pods, directory / "hello", port)
        cluster.kubectl("delete", "pod", POD, "--force", "--grace-period=0")
        cluster.kubectl("delete", "node", NODE)


_STATUS = '{"status": {"phase": "Running", "hostIP": "127.0.0.1", "podIP": "192.0.2.77"}}'


def _node(port: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE},
        "status": {
            "addresses": [{"type": "InternalIP", "address": HOST}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "declaredFeatures": ["ExtendWebSocketsToKubelet"],
        },
    }


def _pod() -> Object:
    containers = [{"name": name, "image": "example.com/none"} for name in MODULES]
    spec = {"nodeName": NODE, "containers": containers, "automountServiceAccountToken": False}
    spec["tolerations"] = [{"operator": "Exists"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}, "spec": spec}


def test_logs_with_all_options(by_hand: ByHand) -> None:
    by_hand.write(*(f"line {number}" for number in range(200)))
    logs = ("logs", POD, "-c", "hello")
    shown = by_hand.kubectl(*logs).splitlines()
    assert shown == [f"line {number}" for number in range(200 - len(shown), 200)]
    assert (by_hand.logs / "1.log.1").exists()
    assert by_hand.kubectl(*logs, "--tail=2") == "line 198\nline 199\n"
    assert by_hand.kubectl(*logs, "--tail=2", "--limit-bytes=10") == "line 198\nl"
    timed = by_hand.kubectl(*logs, "--tail=1", "--timestamps").split(" ", 1)
    assert (len(timed[0]), timed[1]) == (30, "line 199\n")
    assert by_hand.kubectl(*logs, f"--since-time={timed[0]}") == "line 199\n"
    assert by_hand.kubectl(*logs, "--since=1000h").splitlines() == shown
    (by_hand.logs / "0.log").write_text((by_hand.logs / "1.log").read_text().splitlines(keepends=True)[-1])
    by_hand.pods.change(POD, "hello", previous_log=by_hand.logs / "0.log")
    assert by_hand.kubectl(*logs, "--previous") == "line 199\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-c", "waits"], 'container "waits" in pod "demo" is waiting to start: ContainerCreating'),
        (["-c", "trap", "--previous"], 'previous terminated container "trap" in pod "demo" not found'),
    ],
)
def test_logs_that_are_not_there(by_hand: ByHand, arguments: list[str], words: str) -> None:
    with pytest.raises(CommandFailed, match=words):
        by_hand.kubectl("logs", POD, *arguments)


def test_logs_are_followed_until_the_run_ends(by_hand: ByHand) -> None:
    by_hand.write("before")
    command = [str(by_hand.cluster.programs / "kubectl"), "logs", "-f", POD, "-c", "hello", "--tail=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=by_hand.cluster.environment) as following:
        assert following.stdout
        assert following.stdout.readline() == "before\n"
        numbers = [f"number {number}" for number in range(150)]
        by_hand.write(*numbers)
        assert [following.stdout.readline().rstrip() for _ in numbers] == numbers
        by_hand.pods.change(POD, "hello", is_running=False)
        assert (following.stdout.read(), following.wait(30)) == ("", 0)
    by_hand.pods.change(POD, "hello", is_running=True)


def execute(by_hand: ByHand, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `kubectl exec`."""
    done = subprocess.run(
        [by_hand.cluster.programs / "kubectl", "exec", POD, *arguments],
        input=stdin,
        capture_output=True,
        encoding="latin-1",
        env=by_hand.cluster.environment,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_exec_answers_a_request(by_hand: ByHand) -> None:
    assert execute(by_hand, "-c", "hello", "--", "GET", "/hello/x") == (0, "hello\n", "said\n")


def test_exec_sends_standard_input(by_hand: ByHand) -> None:
    body = "x" * 300_000 + "last"
    code, output, _ = execute(by_hand, "-i", "-c", "reads", "--", "POST", "/reads/", stdin=body)
    assert code == 0
    assert output.encode("latin-1") == len(body).to_bytes(4, "little") + b"last"


def test_exec_has_an_exit_code(by_hand: ByHand) -> None:
    code, output, errors = execute(by_hand, "-c", "trap", "--", "GET", "/trap/")
    assert (code, "unreachable" in errors, "command terminated with exit code 5" in errors) == (5, True, True), errors
    code, output, errors = execute(by_hand, "-it", "-c", "hello", "--", "sh")
    assert (code, output) == (2, "")
    assert "kubectl exec POD -c MODULE -- METHOD /PATH" in errors


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["attach", POD, "-c", "hello"], "attach is not supported: a module runs for the time of a request"),
        (["port-forward", POD, ":80"], "port-forward is not supported: a module has no ports"),
    ],
)
def test_what_a_node_of_modules_cannot_do(by_hand: ByHand, command: list[str], words: str) -> None:
    done = subprocess.run(
        [by_hand.cluster.programs / "kubectl", *command],
        capture_output=True,
        text=True,
        env=by_hand.cluster.environment,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode
    assert words in done.stderr


def test_a_token_needs_a_role(by_hand: ByHand) -> None:
    """A ServiceAccount with the rights of metrics-server gets what that reads, and no more."""
    cluster = by_hand.cluster
    namespace = cluster.new_namespace()
    cluster.kubectl("create", "serviceaccount", "metrics-server", "-n", namespace)
    headers = {"authorization": f"Bearer {cluster.token(namespace, 'metrics-server')}"}
    context = ssl.create_default_context(cafile=str(cluster.control_plane.authority.certificate))

    def get(path: str) -> httpx.Response:
        return httpx.get(f"https://{HOST}:{by_hand.port}{path}", headers=headers, verify=context, trust_env=False)

    user = f"system:serviceaccount:{namespace}:metrics-server"
    words = f"Forbidden (user={user}, verb=get, resource=nodes, subresource={{}})\n"
    assert (get("/stats/summary").status_code, get("/stats/summary").text) == (403, words.format("stats"))
    name = f"metrics-{namespace}"
    cluster.kubectl("create", "clusterrole", name, "--verb=get", "--resource=nodes/metrics")
    account = f"--serviceaccount={namespace}:metrics-server"
    cluster.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", account)
    wait_until(lambda: get("/metrics/resource").status_code == 200, 60)  # a denial is kept for half a minute
    assert "node_cpu_usage_seconds_total" in get("/metrics/resource").text
    assert (get("/pods").status_code, get("/pods").text) == (403, words.format("pods,proxy"))
    cluster.kubectl("delete", "serviceaccount", "metrics-server", "-n", namespace)
