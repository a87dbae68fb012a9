"""A static directory may hold none of the gateway's private files."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support import guests
from tests.support.config import config, module
from wagi_gateway.config.file import read_config
from wagi_gateway.errors import StartupError
from wagi_gateway.site.findings import Findings
from wagi_gateway.site.load import load
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


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ('document_root = "none"', 'document_root = "none": cannot be read: No such file or directory'),
        ('document_root = "."', 'document_root = ".": it holds this file, which everybody could read'),
        (
            'document_root = { path = "www", front_controller = "a.php" }',
            'document_root.front_controller = "a.php": there is no file {}/www/a.php',
        ),
        (
            'document_root = "www"\nvolumes = { "/" = { path = "www" }, "/up" = { path = "up" } }',
            'volumes."/up" = "up": it holds the document root up/www, which guests could change; '
            "set read_only = true, or name another directory",
        ),
    ],
)
def test_a_document_root_that_is_refused(tmp_path: Path, more: str, problem: str) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "up/www").mkdir(parents=True)
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    other = module("/other/...", "hello.wat", document_root="up/www") if "up" in more else ""
    path = tmp_path / "modules.toml"
    path.write_text(module("/...", "hello.wat", more) + other)
    with pytest.raises(StartupError) as caught:
        load(read_config(path))
    assert caught.value.problems[0].what == problem.format(tmp_path)


def test_a_document_root_is_below_its_route(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    path.write_text(module("/php", "hello.wat", document_root="www"))
    with pytest.raises(StartupError, match=r'its scripts are below the route; write route = "/php/..."'):
        load(read_config(path))


@pytest.mark.parametrize(
    ("root", "volume", "expected"),
    [
        ("current", "current", "releases/1"),
        ("current/www", "current", "releases/1/www"),
        ("current/www", ".", "current/www"),  # the guest follows the link
    ],
)
def test_a_document_root_is_in_the_directory_of_its_volume(
    tmp_path: Path, root: str, volume: str, expected: str
) -> None:
    """Once a link on the way leads elsewhere, scripts are not those of one directory and files those of another."""
    (tmp_path / "site/releases/1/www").mkdir(parents=True)
    (tmp_path / "site/current").symlink_to("releases/1")
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    volumes = {"/srv": {"path": f"site/{volume}", "read_only": True}}
    path.write_text(module("/...", "hello.wat", document_root=f"site/{root}", volumes=volumes))
    with closing(load(read_config(path))) as site:
        [(_, endpoint)] = site.routes
        assert endpoint.document_root
        assert endpoint.document_root.files.path == tmp_path / "site" / expected


@pytest.mark.parametrize(
    ("more", "is_warned"),
    [("", False), ('volumes = { "/app" = "www" }', True), ('volumes = { "/app/up" = "www/up" }', False)],
)
def test_a_document_root_that_guests_write_to_is_a_warning(tmp_path: Path, more: str, *, is_warned: bool) -> None:
    (tmp_path / "www/up").mkdir(parents=True)
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    path.write_text(module("/...", "hello.wat", f'document_root = "www"\n{more}'))
    with closing(load(read_config(path))) as site:
        assert any("a script that one puts there is run" in one.what for one in site.warnings) == is_warned


def test_a_fallback_to_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    path.write_text(config(module("/a", "hello.wat"), static=[{"route": "/...", "directory": "www", "fallback": True}]))
    with pytest.raises(StartupError, match="fallback = true, but no other route answers there"):
        load(read_config(path))


def test_two_fallbacks_with_one_route_are_refused(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    static = {"route": "/...", "directory": "www", "fallback": True}
    path.write_text(config(module("/...", "hello.wat"), static=[static, static]))
    with pytest.raises(StartupError, match=r"the route /\.\.\. is taken by \[\[static\]\] 1"):
        load(read_config(path))


def test_files_first_module_else(tmp_path: Path, serve: Serve) -> None:
    sources = {f"www/{name}": "<?php secret" for name in ("a.php", "B.PHP", "a.php~", "a.inc")}
    files = {"www/a.txt": "file", "www/d/index.html": "index", "www/d.php/a.txt": "file", "plain/b.txt": "plain"}
    for name, text in (sources | files).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    static = [
        {"route": "/...", "directory": "www", "fallback": True},
        {"route": "/inner/...", "directory": "www", "fallback": True},
        {"route": "/plain/...", "directory": "www", "fallback": True},
        {"route": "/plain/...", "directory": "plain"},
    ]
    server = serve(config(module("/...", "hello.wat"), static=static), hello=guests.HELLO)
    found = {path: server.get(path) for path in ("/a.txt", "/d/", "/d", "/plain/a.txt", "/plain/b.txt", "/inner/a.txt")}
    assert server.get("/d.php/a.txt").text == "file"
    assert {path: (one.status_code, one.text) for path, one in found.items()} == {
        "/a.txt": (200, "file"),
        "/d/": (200, "index"),
        "/d": (307, ""),
        "/plain/a.txt": (200, "file"),
        "/plain/b.txt": (200, "plain"),
        "/inner/a.txt": (200, "file"),
    }
    for path in (
        "/",
        "/none",
        "/.env",
        "/a.txt/b",
        "/inner/none",
        "/a%2Fb",
        "//a.txt",
        "/a.php",
        "/a.ph%70",
        "/B.PHP",
        "/a.php~",
        "/a.inc",
    ):
        assert server.get(path).text == "hello world\n"
    assert server.post("/a.txt", b"x").text == "hello world\n"  # files answer GET and HEAD alone
    assert server.get("/plain/none").status_code == 404
    assert server.client.get(server.url + "/a.txt", headers={"If-Match": '"x"'}).status_code == 412
