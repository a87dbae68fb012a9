"""New folders: refused in words, written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from wagi_gateway.config.file import read_config
from wagi_gateway.errors import StartupError
from wagi_gateway.router import RoutePattern
from wagi_gateway.scaffold.language import LANGUAGES
from wagi_gateway.scaffold.project import add_module, check_name, check_route, create_project
from wagi_gateway.scaffold.template import Template


def template(name: str = "first", route: str = "/...", folder: str = ".", language: str = "c") -> Template:
    return Template(LANGUAGES[language], name, RoutePattern(route), folder)


def names(folder: Path) -> list[str]:
    """All that is below a folder, hidden files too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


NAMES = {
    "up": "..", "up-and-away": "../x", "absolute": "/tmp/x", "folder": "a/b", "here": ".", "hidden": ".x",
    "nothing": "", "blank": "a b", "line": "a\n", "NUL": "a\0b", "option": "-x", "digit": "1a", "accent": "é",
    "Cyrillic": "\u0430pp", "direction": "a\u202eb", "65": "a" * 65, "quotes": 'a"', "braces": "{{name}}",
    "backslash": "a\\b",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_hostile_name_is_refused(name: str) -> None:
    with pytest.raises(StartupError, match=r'^NAME: "(?s:.*)": (a name is no path; )?write a letter, then letters'):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "App-2_x", "a" * 64, "fn", "con"])
def test_a_name(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(("route", "message"), [("a", 'write "/a"'), ("/a?b", "without query"), ("/\n", "control")])
def test_a_wrong_route_is_refused(route: str, message: str) -> None:
    with pytest.raises(StartupError, match=r"^--route: ") as refusal:
        check_route(route)
    assert message in str(refusal.value)


def test_a_project_is_complete(tmp_path: Path) -> None:
    folder = create_project(tmp_path, template())
    assert names(folder) == [".gitignore", "README.md", "main.c", "modules.schema.json", "modules.toml", "test.sh"]
    assert os.access(folder / "test.sh", os.X_OK)
    file = read_config(folder / "modules.toml")
    assert (*file.problems, *file.warnings) == ()
    assert "module" in json.loads((folder / "modules.schema.json").read_text())["properties"]
    assert names(tmp_path)[0] == "first"


def test_a_project_has_the_modes_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        folder = create_project(tmp_path, template())
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((folder / name).stat().st_mode) for name in (".", "main.c", "test.sh")]
    assert modes == [0o750, 0o640, 0o751]


def _file(path: Path) -> None:
    path.write_text("mine")


def _broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [Path.mkdir, _file, _broken_link], ids=["folder", "file", "broken-link"])
def test_nothing_is_overwritten(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "first")
    with pytest.raises(StartupError, match="exists already; nothing is overwritten"):
        create_project(tmp_path, template())
    assert names(tmp_path) == ["first"]


def test_nothing_is_half_written(tmp_path: Path) -> None:
    """The last file cannot be made, since a name of it is too long."""

    class Long(Template):
        def module_files(self) -> object:  # type: ignore[override]
            return [("a", b"a"), ("b" * 300, b"b")]

    with pytest.raises(StartupError, match="cannot be made: File name too long"):
        create_project(tmp_path, Long(LANGUAGES["c"], "first", RoutePattern("/")))
    assert names(tmp_path) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="first cannot be made: No such file or directory"):
        create_project(tmp_path / "nowhere", template())


BEFORE = '# mine\n[[module]]\nroute = "/a/..."\nmodule = "a.wasm" # keep\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "modules.toml"
    path.write_text(BEFORE)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    "before",
    [BEFORE, BEFORE.rstrip("\n"), "", "\ufeff[log]\naccess = false", BEFORE.replace("\n", "\r\n")],
    ids=["text", "no-line-end", "empty", "byte-order-mark", "CRLF"],
)
def test_a_module_is_added_behind_the_text(config: Path, before: str) -> None:
    config.write_bytes(before.encode())
    add_module(config, template("second", "/b", "second", "python"))
    after = config.read_bytes().decode()
    assert after.startswith(before)
    file = read_config(config)
    assert (*file.problems, *file.warnings) == ()
    assert [module.module for module in file.config.module][-1].startswith("second/app.wasm")
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert "second/wasi/wagi_wsgi.py" in names(config.parent)


def test_a_linked_file_stays_a_link(config: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    config.rename(tmp_path / "real/modules.toml")
    config.symlink_to("real/modules.toml")
    add_module(config, template("second", "/b", "second", "wat"))
    assert config.is_symlink()
    assert len(read_config(config).config.module) == 2
    assert (tmp_path / "second/main.wat").is_file()


@pytest.mark.parametrize(
    ("before", "route", "message"),
    [
        (BEFORE, "/a/...", "has the route /a/... already; give another one"),
        (BEFORE, "/%61/...", "has the route /a/... already; give another one"),
        ('[[static]]\nroute = "/s/..."\ndirectory = "s"\n', "/s/...", "has the route /s/... already"),
        ("[[module]]\nrout = 1\n", "/b", "did you mean route?"),
        ("[[module]", "/b", "is not valid TOML"),
        ('module = [{ route = "/c", module = "c.wasm" }]\n', "/b", 'add it yourself:\n[[module]]\nroute = "/b"'),
        ("[x.y]\n", "/b", "unknown key"),
    ],
    ids=["route", "same-route", "static", "mistake", "no-TOML", "array", "unknown"],
)
def test_a_module_that_has_no_place_is_refused(config: Path, before: str, route: str, message: str) -> None:
    config.write_text(before)
    with pytest.raises(StartupError) as refusal:
        add_module(config, template("second", route, "second"))
    assert message in str(refusal.value)
    assert (names(config.parent), config.read_text()) == (["modules.toml"], before)


def test_an_odd_route_beside_it_is_no_obstacle(config: Path) -> None:
    config.write_text('[[module]]\nroute = "b"\nmodule = "b.wasm"\n')
    add_module(config, template("second", "/b", "second"))
    assert [module.route for module in read_config(config).config.module] == ["b", "/b"]


def test_the_folder_goes_with_a_file_that_cannot_be_written(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "copymode", refuse)
    with pytest.raises(StartupError, match=r"modules\.toml: cannot be written: Permission denied"):
        add_module(config, template("second", "/b", "second"))
    assert (names(config.parent), config.read_text()) == (["modules.toml"], BEFORE)


def test_there_is_no_file_to_add_to(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"modules\.toml: cannot be read: No such file or directory"):
        add_module(tmp_path / "modules.toml", template(folder="first"))
