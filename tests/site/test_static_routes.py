"""A static directory may hold none of the gateway's private files."""

from __future__ import annotations

from pathlib import Path

import pytest

from wagi_gateway.config.file import read_config
from wagi_gateway.site.findings import Findings
from wagi_gateway.site.route_owners import RouteOwners
from wagi_gateway.site.static_routes import static_routes


def problems(directory: Path, published: str, settings: str = "", *, logs: str | None = None) -> list[str]:
    path = directory / "etc" / "modules.toml"
    for name in ("etc", "www", "cache", "logs"):
        (directory / name).mkdir(exist_ok=True)
    path.write_text(f'{settings}\n[[static]]\nroute = "/s/..."\ndirectory = "{published}"\n')
    findings = Findings("file")
    private = directory / logs if logs else None
    routes = list(static_routes(read_config(path), directory / "cache", private, RouteOwners(), findings))
    assert [pattern.text for pattern, _ in routes] == ["/s/..."]
    return [problem.what for problem in findings.problems]


def test_a_directory_without_private_files(tmp_path: Path) -> None:
    assert problems(tmp_path, "../www") == []


@pytest.mark.parametrize(
    ("published", "settings", "what"),
    [
        (".", "", "this file"),
        ("../cache", "", "the cache"),
        ("../logs", "", r"the logs (log.directory)"),
        ("../www", 'auth_file = "../www/auth.json"', "auth_file"),
        ("../www", '[server]\ntls_cert = "c.pem"\ntls_key = "../www/k.pem"', "server.tls_key"),
        ("../www", '[server]\ntls_cert = "../www/both.pem"', "server.tls_key"),
    ],
)
def test_a_private_file_is_a_problem(tmp_path: Path, published: str, settings: str, what: str) -> None:
    found = problems(tmp_path, published, settings, logs="logs")
    assert found == [f'directory = "{published}": it holds {what}, which everybody could read']


def test_a_link_does_not_hide_a_private_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "etc")
    assert "it holds this file" in problems(tmp_path, "../link")[0]


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    assert problems(tmp_path, "nothere") == ['directory = "nothere": cannot be read: No such file or directory']
