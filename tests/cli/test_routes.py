"""The list of routes: what each module may use, within the terminal and without broken words."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.config import config, module
from wagi_gateway.cli.routes import print_routes
from wagi_gateway.config.file import read_config
from wagi_gateway.site.load import load

HOSTS = [f"https://api-{number}.example.com" for number in range(4)]
DATA = "a-directory-with-a-name-that-is-longer-than-the-columns-of-a-narrow-terminal"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / DATA).mkdir()
    (tmp_path / "files").mkdir()
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    volumes = {"/data": {"path": DATA, "read_only": True}, "/tmp": {"temporary": "scratch"}}
    hello = module(
        "/hello/...",
        "hello.wat",
        volumes=volumes,
        environment={"TOKEN": "s3cret"},
        allowed_hosts=HOSTS,
        limits={"time": "3s"},
    )
    text = config(
        hello,
        environment={"MODE": "test"},
        static=[{"route": "/files/...", "directory": "files"}],
        cache={"directory": "cache"},
        log={"directory": "logs"},
    )
    (tmp_path / "modules.toml").write_text(text)
    return tmp_path / "modules.toml"


@pytest.mark.parametrize("columns", ["", "80", "10"], ids=["no terminal", "80", "10"])
def test_routes(path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with closing(load(read_config(path))) as site:
        print_routes(site)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["/hello/...", "/files/..."]
    words = " ".join(lines).split()
    digest = "06534c588c4bcf346a7dd628395a760098606413609a0854c62739599cc8c029"
    assert " ".join(words) == (
        f"/hello/... module hello.wat (_start) limits time 3s, memory 256MiB, concurrency 16 "
        f"volumes /data = {DATA} (read-only), /tmp = temporary scratch environment MODE, TOKEN "
        f"allowed hosts {', '.join(HOSTS)} standard error {path.parent}/logs/{digest}/module.stderr "
        "/files/... files files"
    )
    width = 38 if columns == "10" else 80
    assert [line for line in lines if len(line) > width and len(line[18:].split()) > 1] == []


@pytest.mark.parametrize(
    ("root", "line"),
    [
        ("files", "files (.php)"),
        ({"path": "files", "scripts": [], "front_controller": "a.php"}, "files (no scripts, else a.php)"),
    ],
    ids=str,
)
def test_a_document_root(path: Path, capsys: pytest.CaptureFixture[str], root: object, line: str) -> None:
    (path.parent / "files/a.php").touch()
    path.write_text(config(module("/...", "hello.wat", document_root=root), cache={"directory": "cache"}))
    with closing(load(read_config(path))) as site:
        print_routes(site)
    words = " ".join(capsys.readouterr().out.split())
    assert f"files {line} volumes /app = files (read-only)" in words
