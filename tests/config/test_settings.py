"""modules.toml: what is accepted, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from wagi_gateway.config.file import ConfigFile, Overrides, read_config
from wagi_gateway.config.settings import Config, Limits, ServerConfig
from wagi_gateway.config.values import parse_duration, parse_listen
from wagi_gateway.errors import StartupError

MINIMAL = '[[module]]\nroute = "/x"\nmodule = "x.wasm"\n'


def read(directory: Path, text: str, overrides: Overrides | None = None) -> ConfigFile:
    path = directory / "modules.toml"
    path.write_text(text)
    return read_config(path, overrides)


def problems(directory: Path, text: str, overrides: Overrides | None = None) -> list[str]:
    """The problems of a file, without its path."""
    file = read(directory, text, overrides)
    return [str(problem).replace(str(file.path), "modules.toml") for problem in file.problems]


def test_wagis_own_example(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        """
        [[module]]
        route = "/"
        module = "/path/to/hello_world.wasm"

        [[module]]
        route = "/bar/..."
        module = "file:bar.wasm"
        entrypoint = "hello"
        argv = "${SCRIPT_NAME} ${ARGS}"
        volumes = { "/path/inside/wasm" = "/path/on/host" }
        allowed_hosts = ["https://example.com"]
        http_max_concurrency = 5
        """,
    )
    assert not file.problems
    assert not file.warnings
    bar = file.config.module[1]
    assert (bar.entrypoint, bar.http_max_concurrency, bar.allowed_hosts) == ("hello", 5, ("https://example.com",))
    assert (bar.volumes["/path/inside/wasm"].path, bar.volumes["/path/inside/wasm"].read_only) == (
        "/path/on/host",
        False,
    )


def test_limits_are_inherited_one_by_one(tmp_path: Path) -> None:
    file = read(tmp_path, '[limits]\ntime = "5s"\nqueue = 3\n' + MINIMAL + 'limits = { time = "250ms" }\n')
    limits = file.config.module[0].limits
    assert (limits.time, limits.queue, limits.memory) == (0.25, 3, 256 * 2**20)


def test_read_only_volume(tmp_path: Path) -> None:
    file = read(tmp_path, MINIMAL + 'volumes = { "/a" = { path = "b", read_only = true } }\n')
    assert file.config.module[0].volumes["/a"].read_only


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Limits().time = 3  # type: ignore[misc]


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
        ('[log]\nformat = "xml"\n' + MINIMAL, "modules.toml: log.format = \"xml\": input should be 'text' or 'json'"),
        (MINIMAL + "environment = { A = 1 }\n", "modules.toml: [[module]] 1 (/x): environment.A = 1: must be text"),
        (MINIMAL + 'environment = { "A=B" = "" }\n', "modules.toml: [[module]] 1 (/x): environment.A=B"),
        (
            MINIMAL + 'volumes = { "/a" = { path = "b", readonly = true } }\n',
            "modules.toml: [[module]] 1 (/x): volumes./a.readonly: unknown key; did you mean read_only?",
        ),
        (MINIMAL + "limits = 3\n", "modules.toml: [[module]] 1 (/x): limits = 3: must be a table"),
        ("server = 3\n" + MINIMAL, "modules.toml: server = 3: must be a table"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, problem: str) -> None:
    found = problems(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_a_mistake_does_not_hide_the_rest(tmp_path: Path) -> None:
    file = read(tmp_path, '[limits]\ntime = "soon"\nqueue = 7\n' + MINIMAL + "entrypoint = 3\n")
    assert len(file.problems) == 2
    assert (file.config.limits.queue, file.config.module[0].module) == (7, "x.wasm")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('default_host = "h"\n' + MINIMAL, "default_host: an old key without effect; set hostname in [server]"),
        (MINIMAL + 'repository = "r"\n', "repository: an old key without effect; name the module's file in module"),
        (MINIMAL + 'host = "h"\n', "host: an old key without effect; every host name is served"),
        (MINIMAL + 'bindle_server = "b"\n', "bindle_server: an old key without effect; bindles are gone"),
    ],
)
def test_legacy_keys(tmp_path: Path, text: str, warning: str) -> None:
    file = read(tmp_path, text)
    assert not file.problems
    assert [found.what.startswith(warning) for found in file.warnings] == [True]


def test_overrides_win(tmp_path: Path) -> None:
    overrides = {"server": {"listen": "[::1]:0"}, "environment": {"A": "theirs"}}
    file = read(tmp_path, '[server]\nlisten = "h:1"\nworkers = 2\n[environment]\nA = "ours"\n' + MINIMAL, overrides)
    assert (file.config.server.listen, file.config.server.workers) == ("[::1]:0", 2)
    assert file.config.environment == {"A": "theirs"}


def test_a_wrong_override_is_blamed_on_the_command_line(tmp_path: Path) -> None:
    assert problems(tmp_path, MINIMAL, {"server": {"workers": 0}}) == [
        "command line: server.workers = 0: must be at least 1"
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"[[module", "is not valid TOML"), (b"\xff", "is not UTF-8 text"), (None, "cannot be read")],
)
def test_nothing_to_read(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "modules.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StartupError, match=reason):
        read_config(path)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("250ms", 0.25), ("5m", 300), ("1h", 3600), ("1.5s", 1.5), (7, 7)]
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "3", "3d", "-1s", "1 s", "1e3s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:3000", ("127.0.0.1", 3000)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:80", ("::1", 80)),
        (":80", ("0.0.0.0", 80)),
    ],
)
def test_listen(text: str, address: tuple[str, int]) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize("text", ["", "80", "h", "h:", "h:x", "h:65536", "::1:80", "[::1]", "h:80:90", "http://h:80"])
def test_no_listen(text: str) -> None:
    with pytest.raises(ValueError, match="not HOST:PORT"):
        parse_listen(text)


@pytest.mark.parametrize("text", ["unix:/run/wagi.sock", "unix:relative", "fd:3", "fd:12"])
def test_listen_without_a_port(text: str) -> None:
    assert ServerConfig(listen=text).listen == text


def test_the_schema_knows_every_setting() -> None:
    schema = Config.model_json_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["$defs"]["Limits"]["properties"]) == set(Limits.model_fields)
    assert schema["$defs"]["Limits"]["properties"]["time"]["type"] == ["string", "number"]


@pytest.mark.parametrize(
    "text",
    [
        '[registries."user:pass-word@host"]\n',
        '[registries."http://user:pass-word@host"]\n',
        '[registries.host]\nmirror = "user:pass-word@host"\n',
        '[registries.host]\nmirror = "https://user:pass-word@host/x"\n',
    ],
)
def test_no_message_has_a_password_from_before_a_registry(tmp_path: Path, text: str) -> None:
    (problem,) = problems(tmp_path, text + MINIMAL)
    assert "pass-word" not in problem
    assert "is not HOST[:PORT]" in problem
