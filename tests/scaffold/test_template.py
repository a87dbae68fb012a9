"""The templates with their values."""

from __future__ import annotations

import tomllib

import pytest

from wagi_gateway.config.settings import Config
from wagi_gateway.router import RoutePattern
from wagi_gateway.scaffold.language import LANGUAGES
from wagi_gateway.scaffold.template import Template

ALL = pytest.mark.parametrize("language", LANGUAGES)


def template(language: str, route: str = "/a/...", folder: str = ".") -> Template:
    return Template(LANGUAGES[language], "first-1", RoutePattern(route), folder)


@ALL
def test_every_value_is_put_in(language: str) -> None:
    files = dict([*template(language).project_files(), *template(language).module_files()])
    assert {"README.md", "modules.toml", "test.sh", ".gitignore", LANGUAGES[language].source} <= files.keys()
    assert "module.toml" not in files
    texts = {path: data.decode() for path, data in files.items() if not path.endswith(".wasm")}
    assert [path for path, text in texts.items() if "{{" in text or ".tmpl" in path] == []
    assert len(texts["README.md"].splitlines()) <= 20
    assert "first-1" in texts[LANGUAGES[language].source]


@ALL
@pytest.mark.parametrize(("folder", "prefix"), [(".", ""), ("sub", "sub/")])
def test_a_module_lies_in_its_folder(language: str, folder: str, prefix: str) -> None:
    (module,) = Config.model_validate(tomllib.loads(template(language, folder=folder).module_table())).module
    assert module.route == "/a/..."
    assert module.module.startswith(prefix)
    assert module.build is None or module.build.directory == folder
    assert [volume.path for volume in module.volumes.values()] in ([], [f"{prefix}app"])
    assert all(volume.read_only for volume in module.volumes.values())
    assert template(language).build_command() == (module.build.command if module.build else ())


@pytest.mark.parametrize(
    ("route", "path"),
    [("/...", "/"), ("/a", "/a"), ("/a/...", "/a"), ("""/it's"é""", """'/it'"'"'s"é'""")],
)
def test_a_route_is_quoted(route: str, path: str) -> None:
    files = dict(template("wat", route).project_files())
    assert tomllib.loads(files["modules.toml"].decode())["module"][0]["route"] == route
    assert files["modules.toml"].startswith(b"#:schema ./modules.schema.json\n\n# The gateway")
    assert files["test.sh"].decode().count(f" --path {path} ") == 2


def test_the_path_of_a_go_module_ends_with_no_device_of_windows() -> None:
    """`con` as an element of a module's path is an error of Go, on every system."""
    files = dict(Template(LANGUAGES["go"], "con", RoutePattern("/")).module_files())
    assert files["go.mod"].decode().startswith("module example.com/wagi-con\n")
