"""The tables of modules.toml: defaults, overrides, legacy keys, and what mistakes leave valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.reading import MINIMAL, problems, read


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


def test_an_override_of_the_environment_wins_over_the_modules_own(tmp_path: Path) -> None:
    file = read(tmp_path, MINIMAL + 'environment = { A = "own", B = "b" }\n', {"environment": {"A": "theirs"}})
    assert file.config.module[0].environment == {"A": "theirs", "B": "b"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[environment]\nPATH_INFO = "x"\n' + MINIMAL, "modules.toml: environment.PATH_INFO"),
        (MINIMAL + 'environment = { PATH_INFO = "x" }\n', "modules.toml: [[module]] 1 (/x): environment.PATH_INFO"),
    ],
)
def test_a_reserved_variable_is_left_out(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, text) == [f"{problem}: the request sets this variable; choose another name"]
    file = read(tmp_path, text)
    assert (file.config.environment, file.config.module[0].environment) == ({}, {})


def test_a_reserved_variable_of_the_command_line_is_a_problem_once(tmp_path: Path) -> None:
    assert problems(tmp_path, MINIMAL + MINIMAL, {"environment": {"PATH_INFO": "x"}}) == [
        "command line: environment.PATH_INFO: the request sets this variable; choose another name"
    ]


def test_a_module_without_a_valid_route_is_kept_for_further_checks(tmp_path: Path) -> None:
    file = read(tmp_path, MINIMAL + "[[module]]\nroute = 2\nmodule = 'y.wasm'\n")
    assert [(module.route, module.module) for module in file.config.module] == [("/x", "x.wasm"), ("/2", "y.wasm")]
