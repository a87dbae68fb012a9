"""The options of the node: file and command line, defaults, and mistakes in the words of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.errors import StartupError
from wagi_gateway.node.options import NodeOptions, Taint, read_options


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return path


def test_a_node_has_the_taints_of_the_article() -> None:
    assert NodeOptions(taints=("dedicated:NoSchedule",)).all_taints == (
        Taint("kubernetes.io/arch", "wasm32-wagi", "NoSchedule"),
        Taint("kubernetes.io/arch", "wasm32-wagi", "NoExecute"),
        Taint("dedicated", "", "NoSchedule"),
    )


def test_the_lease_is_renewed_four_times_in_its_life() -> None:
    assert NodeOptions().heartbeat == 10


def test_the_state_directory_is_that_of_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")
    assert NodeOptions().state_directory == Path("/var/lib/a")
    monkeypatch.delenv("STATE_DIRECTORY")
    assert NodeOptions().cache == Path("/var/lib/wagi-gateway-node/cache")


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, 'name = "a"\nport = 1000\n[ceiling]\nmemory = "1MiB"\n')
    options = read_options(path, {"name": "b"})
    assert (options.name, options.port, options.ceiling.memory) == ("b", 1000, 2**20)


def test_paths_of_the_file_start_beside_it(tmp_path: Path) -> None:
    options = read_options(written(tmp_path, 'state_directory = "state"\ntls_cert = "/a.pem"'), {})
    assert (options.state_directory, options.tls_cert) == (tmp_path / "state", Path("/a.pem"))


@pytest.mark.parametrize(
    ("cidr", "pods"), [(None, 20), ("10.1.2.0/29", 6), ("10.1.2.0/24", 20), ("fd00:1::/64", 20), ("10.1.2.9/32", 1)]
)
def test_a_node_has_no_more_pods_than_addresses(cidr: str | None, pods: int) -> None:
    assert NodeOptions(max_pods=20, pod_cidr=cidr).pods == pods


def test_no_file_is_needed() -> None:
    assert read_options(None, {"name": "b"}).name == "b"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('name = "No"', "name = \"No\": not the name of a Node: lower-case letters, digits, '-' and '.'"),
        ('labels = { "a b" = "c" }', 'not a key of a label; write for example "example.com/zone"'),
        ('labels = { "-/b" = "c" }', "not a key of a label"),
        ('labels = { a = "b c" }', 'labels.a = "b c": not a value of a label'),
        ('taints = ["a=b"]', 'taints = "a=b": not a taint; write KEY=VALUE:NoSchedule'),
        ('taints = ["a b:NoExecute"]', 'taints = "a b:NoExecute": not a key of a label'),
        ('addresses = ["node-1"]', 'not an IP address; write for example "10.0.0.4"'),
        (
            'ceiling = { host_paths = ["srv"] }',
            'ceiling.host_paths = "srv": not an absolute path; write for example "/srv/wagi"',
        ),
        ('ceiling = { host_paths = ["/srv/../etc"] }', "not an absolute path"),
        ('pod_cidr = "10.1.2.0"', 'pod_cidr = "10.1.2.0": not a range'),
        ('pod_cidr = "10.1.2.5/28"', 'not the first address of a range; write "10.1.2.0/28"'),
        ('pod_cidr = "169.254.0.0/16"', "not addresses that EndpointSlices take"),
        ('pod_cidr = "0.0.0.0/0"', "not addresses that EndpointSlices take"),
        ("prot = 1", "prot: unknown key; did you mean port?"),
        ("port = 0", "port = 0: must be at least 1"),
        ('tls_key = "a.pem"', "tls_key: there is no tls_cert beside it"),
    ],
)
def test_a_mistake_names_file_key_and_remedy(tmp_path: Path, text: str, what: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(StartupError) as error:
        read_options(path, {})
    assert str(error.value).startswith(f"{path}: ")
    assert what in str(error.value)


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as error:
        read_options(written(tmp_path, 'port = 0\nname = ""'), {"max_pods": 0})
    assert len(error.value.problems) == 3
    assert str(error.value.problems[-1]) == "command line: max_pods = 0: must be at least 1"
