"""Spin's manifests of both versions as the tables of a modules.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wagi_gateway.config.file import config_from_tables
from wagi_gateway.config.pod.toml import write_toml
from wagi_gateway.config.spin.conversion import SpinFile, convert_spin, read_spin
from wagi_gateway.errors import StartupError

DIGEST = "0123456789abcdef" * 4

VERSION_1 = """
spin_manifest_version = "1"
name = "old"
version = "0.1.0"
trigger = { type = "http", base = "/base" }
[[component]]
id = "hello"
source = "hello.wasm"
files = [{ source = "data", destination = "/data" }]
environment = { A = "1" }
allowed_http_hosts = ["https://a.example"]
[component.trigger]
route = "/hello"
executor = { type = "wagi", argv = "a ${ARGS}", entrypoint = "go" }
[component.build]
command = "make"
workdir = "hello"
"""
VERSION_2 = """
spin_manifest_version = 2
[application]
name = "shop"
[application.trigger.http]
base = "/base"
[[trigger.http]]
route = "/hello"
component = "hello"
executor = { type = "wagi", argv = "a ${ARGS}", entrypoint = "go" }
[component.hello]
source = "hello.wasm"
files = [{ source = "data", destination = "/data" }]
environment = { A = "1" }
allowed_outbound_hosts = ["https://a.example"]
build = { command = "make", workdir = "hello" }
"""
HEAD = "spin_manifest_version = 2\n[application]\nname = 'x'\n"
WAGI = 'executor = { type = "wagi" }\n'


def converted(directory: Path, text: str) -> SpinFile:
    path = directory / "spin.toml"
    path.write_text(text)
    return read_spin(path)


def component(more: str = "", source: str = '"a.wasm"', route: str = "/a", trigger: str = WAGI) -> str:
    return (
        f'{HEAD}[[trigger.http]]\nroute = "{route}"\ncomponent = "a"\n{trigger}[component.a]\nsource = {source}\n{more}'
    )


def doubts(file: SpinFile) -> list[str]:
    return [str(warning).partition("spin.toml: ")[2] for warning in file.warnings]


@pytest.mark.parametrize("text", [VERSION_1, VERSION_2], ids=["1", "2"])
def test_a_component_is_a_module(tmp_path: Path, text: str) -> None:
    file = converted(tmp_path, text)
    assert file.tables == {
        "module": [
            {
                "route": "/base/hello",
                "module": "hello.wasm",
                "entrypoint": "go",
                "argv": "a ${ARGS}",
                "volumes": {"/data": {"path": "data", "read_only": True}},
                "allowed_hosts": ["https://a.example"],
                "environment": {"A": "1"},
                "build": {"command": ["make"], "directory": "hello"},
            }
        ]
    }
    assert (file.warnings, file.components, file.notes) == ((), ("hello",), ((),))


def test_a_module_to_download(tmp_path: Path) -> None:
    source = f'{{ url = "https://a.example/dl/php.wasm?x=1", digest = "sha256:{DIGEST}" }}'
    file = converted(tmp_path, component(source=source))
    assert file.tables["module"][0]["module"] == "php.wasm"
    assert file.notes[0] == (
        "Download the module, verify it, and keep it as php.wasm:",
        "  curl -fLo php.wasm 'https://a.example/dl/php.wasm?x=1'",
        f"  echo '{DIGEST}  php.wasm' | sha256sum -c",
    )
    assert doubts(file) == [
        "component a: source: download the module, verify it, and keep it as php.wasm; the comment in the file has the"
        " commands"
    ]


def test_modules_of_one_name_from_two_places(tmp_path: Path) -> None:
    more = (
        '[[trigger.http]]\nroute = "/b"\ncomponent = "b"\n' + WAGI + '[component.b]\nsource.url = "https://b/m.wasm"\n'
    )
    file = converted(tmp_path, component(more, source='{ url = "https://a/m.wasm" }'))
    assert [module["module"] for module in file.tables["module"]] == ["m.wasm", "b-m.wasm"]
    assert file.notes[0][-1] == "  (there is no SHA-256 of it)"


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        (
            component(trigger=""),
            'component a: its executor is "spin", Spin\'s own, not "wagi" (see wagi-gateway bridge); skipped',
        ),
        (component(trigger='executor = { type = "wasi" }\n'), 'component a: its executor is "wasi", Spin\'s own'),
        (
            f'{HEAD}[[trigger.redis]]\ncomponent = "a"\n[component.a]\nsource = "a.wasm"\n',
            "component a: its trigger is redis, not http; skipped",
        ),
        (f'{HEAD}[[trigger.http]]\nroute = "/"\ncomponent = "x"\n', "component x: the manifest has no such component"),
        (
            component().replace('"/a"', "{ private = true }"),
            "component a: its route is private, so that no client can call it; skipped",
        ),
        (f'{HEAD}[component.a]\nsource = "a.wasm"\n', "component a: no trigger names it; skipped"),
    ],
    ids="spin|wasi|redis|unknown|private|unused".split("|"),
)
def test_what_is_no_wagi_program_is_named_and_skipped(tmp_path: Path, text: str, doubt: str) -> None:
    with pytest.raises(StartupError, match="has no HTTP component with executor") as error:
        converted(tmp_path, text)
    assert str(error.value.warnings[0]).startswith(f"{tmp_path / 'spin.toml'}: {doubt}")


@pytest.mark.parametrize(
    ("more", "doubt"),
    [
        ("[variables]\nx = { required = true }\n", "variables (x): a WAGI program cannot ask for Spin's variables"),
        ('variables = { y = "{{ x }}" }\n', "component a: variables (y): a WAGI program cannot ask for them"),
        ('environment = { PATH_INFO = "x" }\n', "component a: environment.PATH_INFO: is left out, because the request"),
        ('environment = { A = "{{ x }}" }\n', "component a: environment.A: holds a variable of Spin; write its value"),
        ('key_value_stores = ["default"]\n', "component a: key_value_stores: Spin's own interface"),
        ('exclude_files = ["*.txt"]\n', "component a: exclude_files: has no effect"),
        ('files = ["one.txt"]\n', "component a: files: one.txt: a volume is a directory"),
        ('allowed_outbound_hosts = ["redis://a"]\n', 'component a: allowed_hosts: "redis://a" is left out'),
    ],
)
def test_what_has_no_equivalent_is_named(tmp_path: Path, more: str, doubt: str) -> None:
    (found,) = doubts(converted(tmp_path, component(more)))
    assert found.startswith(doubt)


def test_a_source_that_is_neither_file_nor_url(tmp_path: Path) -> None:
    file = converted(tmp_path, component(source='{ registry = "ghcr.io", package = "a:b", version = "1" }'))
    assert file.tables["module"][0]["module"] == "a.wasm"
    assert file.notes[0] == ('Fetch the module and keep it as "a.wasm".',)
    assert "its source is neither a file nor a URL" in doubts(file)[0]


def test_two_routes_that_become_one(tmp_path: Path) -> None:
    more = f'[[trigger.http]]\nroute = "/u/:name"\ncomponent = "a"\n{WAGI}'
    file = converted(tmp_path, component(more, route="/u/:id"))
    assert [module["route"] for module in file.tables["module"]] == ["/u/..."]
    assert file.notes[0][0].startswith("was /u/:id in Spin: ")
    assert doubts(file) == ['component a: route = "/u/...": component a has it; skipped, give it another one']


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = 1\n", "is not a Spin manifest"),
        ("spin_manifest_version = 3\n", "spin_manifest_version = 3: the versions 1 and 2 are known"),
        ('spin_manifest_version = "1"\ncomponent = 1\n', "component: is not a list of [[component]] tables"),
        (component("environment = { A = 1 }\n"), "component.a.environment.A: must be text in quotes"),
        (component(source="1"), "component.a.source = 1: "),
        (component("build = {}\n"), "component.a.build.command: missing; it has no default"),
        (component(route="/a?b"), 'component a: route = "/a?b": a route is a path, without query'),
        ("[[module", "is not valid TOML"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(StartupError) as error:
        converted(tmp_path, text)
    assert str(error.value.problems[0]).startswith(f"{tmp_path / 'spin.toml'}: {problem}")


_KEYS = (
    "component trigger http route executor type source url digest files destination environment build command watch"
    " workdir allowed_outbound_hosts variables a id base application wagi"
).split()
_TEXT = st.sampled_from(["", "a", "wagi", "/a/:b", "{{ x }}", 'a"\n', "https://a", "../x", "*://*:*", "\0"])
_VALUES: Any = st.recursive(
    _TEXT | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=12,
)
_TABLES = st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=5)


@given(st.sampled_from(["1", 2]), _TABLES, _TABLES, st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=2))
def test_any_tables_are_converted_or_refused(
    version: object, tables: dict[str, Any], part: dict[str, Any], executor: dict[str, Any]
) -> None:
    trigger = {"route": "/a", "component": "a", "executor": {"type": "wagi", **executor}}
    valid = {"component": [{"id": "a", "trigger": trigger, "source": "m", **part}]}
    if version == 2:
        valid = {"trigger": {"http": [trigger]}, "component": {"a": {"source": "m", **part}}}  # type: ignore[dict-item]
    try:
        file = convert_spin(Path("spin.toml"), {"spin_manifest_version": version, **valid, **tables})
    except StartupError:
        return
    text = write_toml(file.tables, file.components, file.notes, file.about)
    assert config_from_tables(Path("modules.toml"), tomllib.loads(text)).problems == ()
