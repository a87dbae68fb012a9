"""The `run` command in process: the request of a command line, and problems that name its options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import guests
from wagi_gateway.cli.run import RunRequest, load_once
from wagi_gateway.errors import StartupError
from wagi_gateway.site.load import load

REQUEST = RunRequest(
    module="m.wat",
    path="/",
    query="",
    method="GET",
    headers=(),
    body=b"",
    environment={},
    volumes=(),
    allowed_hosts=(),
    entrypoint="_start",
    argv=None,
)
HOST = (b"host", b"localhost")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": [HOST]}),
        ({"path": "a"}, {"path": "/a", "raw_path": b"/a"}),
        ({"path": "/é b?"}, {"path": "/é b?", "raw_path": b"/%C3%A9%20b%3F"}),
        ({"path": "/a%20b"}, {"raw_path": b"/a%20b"}),
        ({"query": "a=b c&d#"}, {"query_string": b"a=b%20c&d%23"}),
        ({"headers": ("X-A:  b ",)}, {"headers": [HOST, (b"x-a", b"b")]}),
        ({"headers": ("Host: h",)}, {"headers": [(b"host", b"h")]}),
        ({"method": "POST", "body": b"abc"}, {"method": "POST", "headers": [HOST, (b"content-length", b"3")]}),
        ({"headers": ("Content-Length: 3",), "body": b"abc"}, {"headers": [HOST, (b"content-length", b"3")]}),
    ],
    ids="default|no slash|escaped|escaped already|query|field|host|body|length".split("|"),
)
def test_the_scope_of_a_request(changes: dict[str, Any], expected: dict[str, object]) -> None:
    scope = replace(REQUEST, **changes).scope()
    assert {name: scope[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"method": "G T"}, '--method: "G T": write a method such as GET'),
        ({"method": ""}, '--method: "": write a method such as GET'),
        ({"headers": ("a: b", "Authorization x")}, '--header (number 2): write "Name: value"'),
        ({"headers": ("a b: c",)}, '--header (number 1): write "Name: value"'),
    ],
)
def test_an_invalid_request(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(StartupError) as error:
        replace(REQUEST, **changes).scope()
    assert str(error.value) == problem


@pytest.mark.parametrize("volume", ["/data", "=data", "/data="])
def test_an_invalid_volume(volume: str) -> None:
    with pytest.raises(StartupError) as error:
        replace(REQUEST, volumes=(volume,)).config_file({})
    assert str(error.value) == f'--volume: "{volume}": write GUEST=HOST or GUEST=HOST:ro'


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"module": "missing.wat"}, '"missing.wat": '),
        ({"entrypoint": "strat"}, 'entrypoint = "strat": there is no such export'),
        ({"allowed_hosts": ("ftp://b",)}, '--allow-host "ftp://b": '),
        ({"volumes": ("/data",)}, '--volume: "/data": '),
        ({"volumes": ("/data=nothere",)}, "--volume /data=nothere: there is no directory"),
    ],
)
def test_a_problem_names_no_key_of_modules_toml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.wat").write_text(guests.HELLO)
    with pytest.raises(StartupError) as error:
        load_once(replace(REQUEST, **changes), {"cache": {"enabled": False}}, load)
    assert str(error.value).startswith(problem)


def test_a_module_that_only_prints_routes_has_no_entrypoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wat = guests.says(b"/one one\n").replace('(export "_start")', '(export "_routes")')
    (tmp_path / "m.wat").write_text(wat.removesuffix(")") + ' (func (export "one")))')
    with pytest.raises(StartupError) as error:
        load_once(REQUEST, {"cache": {"enabled": False}}, load)
    assert str(error.value) == '--entrypoint: "_start": there is no such export'
