"""A static directory may hold none of the gateway's private files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wagi_gateway.config.file import read_config
from wagi_gateway.site.findings import Findings
from wagi_gateway.site.route_owners import RouteOwners
from wagi_gateway.site.static_routes import static_routes
from wagi_gateway.site.trusted import TrustedFiles, trusted_files


def problems(directory: Path, published: str, settings: str = "", *, logs: str | None = None) -> list[str]:
    path = directory / "etc" / "modules.toml"
    for name in ("etc", "www", "cache", "logs"):
        (directory / name).mkdir(exist_ok=True)
    path.write_text(f'{settings}\n[[static]]\nroute = "/s/..."\ndirectory = "{published}"\n')
    findings = Findings("file")
    private = directory / logs if logs else None
    file = read_config(path)
    trusted = TrustedFiles(trusted_files(file, directory / "cache", private))
    routes = list(static_routes(file, trusted, RouteOwners(), findings))
    assert [pattern.text for pattern, _ in routes] == ["/s/..."]
    return [problem.what for problem in findings.problems]


def test_a_directory_without_private_files(tmp_path: Path) -> None:
    assert problems(tmp_path, "../www") == []


@pytest.mark.parametrize(
    ("published", "settings", "what"),
    [
        (".", "", "this file"),
        ("../cache", "", "the cache {}/cache"),
        ("../logs", "", "the logs (log.directory) in {}/logs"),
        ("../www", 'auth_file = "../www/auth.json"', "auth_file"),
        ("../www", '[server]\ntls_cert = "c.pem"\ntls_key = "../www/k.pem"', "server.tls_key"),
        ("../www", '[server]\ntls_cert = "../www/both.pem"', "server.tls_key"),
    ],
)
def test_a_private_file_is_a_problem(tmp_path: Path, published: str, settings: str, what: str) -> None:
    found = problems(tmp_path, published, settings, logs="logs")
    assert found == [f'directory = "{published}": it holds {what.format(tmp_path)}, which everybody could read']


def test_no_part_of_the_cache_is_published(tmp_path: Path) -> None:
    (tmp_path / "cache/registry").mkdir(parents=True)
    (found,) = problems(tmp_path, "../cache/registry")
    assert f"it lies in the cache {tmp_path}/cache, which everybody could read" in found


def test_a_hard_link_does_not_hide_a_private_file(tmp_path: Path) -> None:
    problems(tmp_path, "../www")
    (tmp_path / "etc/k.pem").touch()
    os.link(tmp_path / "etc/k.pem", tmp_path / "www/other-name")
    settings = '[server]\ntls_cert = "c.pem"\ntls_key = "k.pem"'
    (found,) = problems(tmp_path, "../www", settings)
    assert "it holds a hard link of server.tls_key, which everybody could read" in found


def test_what_is_not_secret_may_be_published(tmp_path: Path) -> None:
    settings = '[server]\ntls_cert = "../www/c.pem"\ntls_key = "k.pem"'
    assert problems(tmp_path, "../www", settings) == []


def test_a_link_does_not_hide_a_private_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "etc")
    assert "it holds this file" in problems(tmp_path, "../link")[0]


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    assert problems(tmp_path, "nothere") == ['directory = "nothere": cannot be read: No such file or directory']
