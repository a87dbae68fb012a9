"""Mistakes in modules.toml, each reported by its key and value."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from tests.config.reading import MINIMAL, problems
from wagi_gateway.config.settings import AdminConfig, ServerConfig
from wagi_gateway.config.validation import unknown_key, without


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "modules.toml: has no [[module]] table"),
        ('[module]\nroute = "/"\n', "modules.toml: module is not a list of [[module]] tables"),
        (MINIMAL + "modul = 1\n", "modules.toml: [[module]] 1 (/x): modul: unknown key; did you mean module?"),
        ("[servr]\n" + MINIMAL, "modules.toml: servr: unknown key; did you mean server?"),
        ("[server]\nlisen = 1\n" + MINIMAL, "modules.toml: server.lisen: unknown key; did you mean listen?"),
        ('[[module]]\nmodule = "x"\n', "modules.toml: [[module]] 1: route: missing; it has no default"),
        ("auth_file = 1\n" + MINIMAL, "modules.toml: auth_file = 1: must be text in quotes"),
        (
            '[registries."h"]\ninsecur = true\n' + MINIMAL,
            "modules.toml: registries.h.insecur: unknown key; did you mean",
        ),
        ("[registries]\nh = 1\n" + MINIMAL, "modules.toml: registries.h = 1: must be a table"),
        ("registries = 1\n" + MINIMAL, "modules.toml: registries = 1: must be a table"),
        (MINIMAL + 'pull_policy = "sometimes"\n', "modules.toml: [[module]] 1 (/x): pull_policy = "),
        (
            MINIMAL + 'volumes = { "/d" = { read_only = true } }\n',
            "modules.toml: [[module]] 1 (/x): volumes./d: write path",
        ),
        (
            MINIMAL + 'volumes = { "/d" = { path = "d", temporary = "t" } }\n',
            "modules.toml: [[module]] 1 (/x): volumes./d: write path",
        ),
        (
            MINIMAL + 'allowed_hosts = ["a.example", "ftp://b"]\n',
            'modules.toml: [[module]] 1 (/x): allowed_hosts = "ftp://b": a guest can call http and https',
        ),
        ('[limits]\ntime = "soon"\n' + MINIMAL, 'modules.toml: limits.time = "soon": not a duration; write'),
        ('[limits]\ntime = "0s"\n' + MINIMAL, 'modules.toml: limits.time = "0s": must be more than 0s'),
        ("[limits]\ntime = true\n" + MINIMAL, "modules.toml: limits.time = true: not a duration; write"),
        ('[limits]\nmemory = "lots"\n' + MINIMAL, 'modules.toml: limits.memory = "lots": not a size; write'),
        ("[limits]\nconcurrency = 0\n" + MINIMAL, "modules.toml: limits.concurrency = 0: must be at least 1"),
        ('[server]\nlisten = "here"\n' + MINIMAL, 'modules.toml: server.listen = "here": not HOST:PORT; write'),
        ('[server]\nlisten = "unix:"\n' + MINIMAL, 'modules.toml: server.listen = "unix:": write the path of'),
        ('[server]\nlisten = "fd:2"\n' + MINIMAL, 'modules.toml: server.listen = "fd:2": write the number'),
        ('[server]\nhostname = "a b"\n' + MINIMAL, 'modules.toml: server.hostname = "a b": not HOST or HOST:PORT'),
        ('[server]\nsocket_mode = "rw"\n' + MINIMAL, 'modules.toml: server.socket_mode = "rw": not a mode; write'),
        (
            '[server]\ntrusted_proxies = ["unix", "h"]\n' + MINIMAL,
            'modules.toml: server.trusted_proxies = "h": not an address or network; write for example "10.0.0.0/8", or',
        ),
        ("static = 1\n" + MINIMAL, "modules.toml: static is not a list of [[static]] tables"),
        (
            MINIMAL + '[[static]]\nroute = "/a"\ndirectory = "d"\n',
            'modules.toml: [[static]] 1 (/a): route = "/a": a directory answers everything below a path; write ',
        ),
        (
            MINIMAL + '[[static]]\nroute = "/a/..."\ndirectori = "d"\ndirectory = "d"\n',
            "modules.toml: [[static]] 1 (/a/...): directori: unknown key; did you mean directory?",
        ),
        (
            MINIMAL + '[[static]]\nroute = "/a/..."\ndirectory = "d"\ncache_control = "a\\nb"\n',
            "modules.toml: [[static]] 1 (/a/...): cache_control = ",
        ),
        (
            '[cache]\ndirectory = "a\\u0000"\n' + MINIMAL,
            'modules.toml: cache.directory = "a\x00": the path of a directory must not',
        ),
        (
            '[log]\ndirectory = "a\\u0000"\n' + MINIMAL,
            'modules.toml: log.directory = "a\x00": the path of a directory must not',
        ),
        ('[log]\nformat = "xml"\n' + MINIMAL, "modules.toml: log.format = \"xml\": input should be 'auto', 'text', "),
        ('[limits]\nconcurrency = "16"\n' + MINIMAL, 'modules.toml: limits.concurrency = "16": must be a whole number'),
        ("[limits]\nqueue = 1.0\n" + MINIMAL, "modules.toml: limits.queue = 1.0: must be a whole number"),
        ("[server]\nworkers = true\n" + MINIMAL, "modules.toml: server.workers = true: must be a whole number"),
        ('[server]\nworkers = "auto"\n' + MINIMAL, 'modules.toml: server.workers = "auto": must be a whole number'),
        ('[log]\naccess = "no"\n' + MINIMAL, 'modules.toml: log.access = "no": must be true or false'),
        ("[cache]\nenabled = 0\n" + MINIMAL, "modules.toml: cache.enabled = 0: must be true or false"),
        (
            "[registries.h]\ninsecure = 1\n" + MINIMAL,
            "modules.toml: registries.h.insecure = 1: must be true or false",
        ),
        ("[limits]\nmemory = true\n" + MINIMAL, "modules.toml: limits.memory = true: not a size; write"),
        (
            '[server]\nlisten = ":99999"\n' + MINIMAL,
            'modules.toml: server.listen = ":99999": there is no port 99999; write one of 1 to 65535, or 0',
        ),
        (MINIMAL + "environment = { A = 1 }\n", "modules.toml: [[module]] 1 (/x): environment.A: must be text"),
        (MINIMAL + 'environment = { "A=B" = "" }\n', "modules.toml: [[module]] 1 (/x): environment.A=…: "),
        (
            MINIMAL + 'volumes = { "/a" = { path = "b", readonly = true } }\n',
            "modules.toml: [[module]] 1 (/x): volumes./a.readonly: unknown key; did you mean read_only?",
        ),
        (MINIMAL + "limits = 3\n", "modules.toml: [[module]] 1 (/x): limits = 3: must be a table"),
        (MINIMAL + "build = 3\n", "modules.toml: [[module]] 1 (/x): build = 3: must be a table"),
        (MINIMAL + "build = {}\n", "modules.toml: [[module]] 1 (/x): build: write a command, such as"),
        (MINIMAL + "build = { snapshot = 1 }\n", "modules.toml: [[module]] 1 (/x): build.snapshot = 1: "),
        (
            MINIMAL + "missing_imports = true\n",
            "modules.toml: [[module]] 1 (/x): missing_imports = true: ",
        ),
        (
            MINIMAL + 'build = { command = "make all" }\n',
            'modules.toml: [[module]] 1 (/x): build.command = "make all": write the words of the command',
        ),
        (MINIMAL + "build = { command = [] }\n", "modules.toml: [[module]] 1 (/x): build.command: must not be empty"),
        (
            MINIMAL + 'build = { command = ["make", 1] }\n',
            "modules.toml: [[module]] 1 (/x): build.command = 1: must be text in quotes",
        ),
        (
            MINIMAL + 'build = { command = [" ", "a"] }\n',
            "modules.toml: [[module]] 1 (/x): build.command: the first word is the program; write its name",
        ),
        (
            MINIMAL + 'build = { command = ["make"], directory = "" }\n',
            'modules.toml: [[module]] 1 (/x): build.directory = "": a path must not be empty',
        ),
        (
            MINIMAL + 'build = { command = ["make"], watch = ["a", "\\u0000"] }\n',
            "modules.toml: [[module]] 1 (/x): build.watch = ",
        ),
        (
            MINIMAL + 'build = { command = ["make"], shell = true }\n',
            "modules.toml: [[module]] 1 (/x): build.shell: unknown key; valid keys are command, directory, watch",
        ),
        ("server = 3\n" + MINIMAL, "modules.toml: server = 3: must be a table"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, problem: str) -> None:
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    ("paths", "left"),
    [
        ([], {"a": 1, "b": {"c": 2, "d": {"e": 3}}}),
        ([("a",)], {"b": {"c": 2, "d": {"e": 3}}}),
        ([("b", "c")], {"a": 1, "b": {"d": {"e": 3}}}),
        ([("b", "d", "e")], {"a": 1, "b": {"c": 2}}),
        ([("a", "x")], {"b": {"c": 2, "d": {"e": 3}}}),
        ([()], {"a": 1, "b": {"c": 2, "d": {"e": 3}}}),
    ],
)
def test_the_rest_of_a_table(paths: list[tuple[str, ...]], left: dict[str, object]) -> None:
    table = {"a": 1, "b": {"c": 2, "d": {"e": 3}}}
    assert without(table, paths) == left
    assert table == {"a": 1, "b": {"c": 2, "d": {"e": 3}}}


def test_no_table_has_no_rest() -> None:
    assert without(3, [()]) == {}


@pytest.mark.parametrize(
    ("name", "model", "hint"),
    [
        ("lisen", ServerConfig, "; did you mean listen?"),
        ("xyz", AdminConfig, "; valid keys are listen"),
        ("xyz", None, ""),
    ],
)
def test_the_nearest_key(name: str, model: type[BaseModel] | None, hint: str) -> None:
    assert unknown_key(f"t.{name}", name, model) == f"t.{name}: unknown key{hint}"


def test_no_message_has_a_secret(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, '[outbound]\nproxy = "ftp://user:pass-word@proxy"\n' + MINIMAL)
    assert problem.startswith("modules.toml: outbound.proxy: not a proxy")
    assert "pass-word" not in problem
