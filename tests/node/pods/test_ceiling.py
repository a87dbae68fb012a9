"""The operator's ceiling: ports, outbound hosts, host paths and memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.node.options import Ceiling
from wagi_gateway.node.pods.ceiling import HostPath, PodCeiling, covers
from wagi_gateway.node.pods.volume_files import BadVolume
from wagi_gateway.outbound.policy import AllowedHost


def ceiling(**table: object) -> PodCeiling:
    return PodCeiling(Ceiling.model_validate(table), frozenset({10350}))


@pytest.mark.parametrize(
    ("above", "entry", "is_covered"),
    [
        ("insecure:allow-all", "insecure:allow-all", True),
        ("insecure:allow-all", "https://a.example", True),
        ("https://a.example", "https://a.example", True),
        ("a.example", "https://a.example", True),
        ("https://a.example", "a.example", False),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example:8443", False),
        ("https://a.example", "https://b.example", False),
        ("*.example", "https://a.example", True),
        ("*.example", "*.example", True),
        ("*.example", "*.a.example", True),
        ("*.example", "https://example", False),
        ("*.a.example", "*.example", False),
        ("a.example", "*.a.example", False),
        ("*.example", "insecure:allow-all", False),
    ],
)
def test_an_entry_is_covered_by_a_wider_one(above: str, entry: str, is_covered: bool) -> None:
    assert covers(AllowedHost.parse(above), AllowedHost.parse(entry)) is is_covered


@pytest.mark.parametrize(
    ("table", "entry", "problem"),
    [
        ({}, "https://api.example.com", ""),
        ({}, "insecure:allow-all", ""),
        ({}, "http://169.254.169.254", "allow_private_networks"),
        ({}, "http://[::1]:8080", "allow_private_networks"),
        ({}, "http://localhost", "allow_private_networks"),
        ({}, "http://x.localhost", "allow_private_networks"),
        ({"allow_private_networks": True}, "http://10.0.0.1", ""),
        ({"allowed_hosts": ["https://a.example"]}, "https://b.example", "ceiling.allowed_hosts"),
        ({"allowed_hosts": []}, "https://b.example", "ceiling.allowed_hosts"),
        ({"allowed_hosts": ["*.example"]}, "https://b.example", ""),
    ],
)
def test_hosts(table: dict[str, object], entry: str, problem: str) -> None:
    (*found,) = ceiling(**table).problems_of_hosts((entry,))
    assert bool(found) == bool(problem)
    assert all(problem in one for one in found)


@pytest.mark.parametrize(
    ("table", "port", "problem"),
    [
        ({}, 3001, ""),
        ({}, 80, "ceiling.privileged_ports"),
        ({"privileged_ports": True}, 80, ""),
        ({}, 0, "names no port"),
        ({}, 10350, "the node's own"),
    ],
)
def test_ports(table: dict[str, object], port: int, problem: str) -> None:
    (*found,) = ceiling(**table).problems_of_port(port)
    assert bool(found) == bool(problem)
    assert all(problem in one for one in found)


def test_memory() -> None:
    assert list(ceiling(memory="1MiB").problems_of_memory(2**20)) == []
    assert len(list(ceiling(memory="1MiB").problems_of_memory(2**20 + 1))) == 1


@pytest.mark.parametrize("path", ["/srvx", "/etc", "relative", "/srv/../etc", "/"])
def test_a_host_path_outside_of_the_list_is_refused(path: str) -> None:
    with pytest.raises(BadVolume, match="not permitted"):
        ceiling(host_paths=["/srv"]).check_host_path(path)


def test_a_host_path_may_be_below_a_link_of_the_operator(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    allowed = ceiling(host_paths=[str(tmp_path / "link")])
    allowed.check_host_path(str(tmp_path / "link/a"))
    allowed.check_host_path(str(tmp_path / "real/a"))


def test_a_directory_below_another_one_permits_nothing_more(tmp_path: Path) -> None:
    """A guest that may write to the outer one has put a link in the place of the inner one."""
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer/inner").symlink_to("/etc")
    allowed = ceiling(host_paths=[str(tmp_path / "outer/inner"), str(tmp_path / "outer")])
    for check in (allowed.check_host_path, allowed.host_path):
        with pytest.raises(BadVolume, match="/etc is not permitted"):
            check("/etc")
    with pytest.raises(BadVolume, match="/etc is not permitted"):
        allowed.host_path(str(tmp_path / "outer/inner"))


@pytest.mark.parametrize("inner", ["mnt/team", "data/shared/team"])
def test_a_directory_that_a_link_puts_below_another_one(tmp_path: Path, inner: str) -> None:
    """The operator's link leads into a directory that guests may write to."""
    (tmp_path / "srv/shared/team").mkdir(parents=True)
    (tmp_path / "mnt").mkdir()
    (tmp_path / "mnt/team").symlink_to(tmp_path / "srv/shared/team")
    (tmp_path / "data").symlink_to(tmp_path / "srv")
    shared = tmp_path / "srv/shared"
    allowed = ceiling(host_paths=[str(shared), str(tmp_path / inner)])
    assert allowed.host_path(str(tmp_path / inner)) == HostPath(shared / "team", shared)
    (shared / "team").rmdir()
    (shared / "team").symlink_to("/etc")
    for path in (str(tmp_path / inner), "/etc"):
        with pytest.raises(BadVolume, match="/etc is not permitted"):
            allowed.host_path(path)


def test_the_directory_of_a_host_path(tmp_path: Path) -> None:
    """A link of the operator may lead from one directory that is permitted to another."""
    for name in ("a/x", "b/c"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a/link").symlink_to(tmp_path / "b/c")
    allowed = ceiling(host_paths=[str(tmp_path / "a"), str(tmp_path / "b")])
    assert allowed.host_path(str(tmp_path / "a/x")) == HostPath(tmp_path / "a/x", tmp_path / "a")
    assert allowed.host_path(str(tmp_path / "a/link/new")) == HostPath(tmp_path / "b/c/new", tmp_path / "b")
