"""The target of `run`: modules, images and configurations, with problems that name options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support import guests
from tests.support.config import guest
from wagi_gateway.cli.run_target import RunTarget
from wagi_gateway.errors import StartupError
from wagi_gateway.site.load import load

NO_CACHE = {"cache": {"enabled": False}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.wat").write_text(guests.HELLO)
    (tmp_path / "hello:1").write_text(guests.HELLO)
    return tmp_path


@pytest.mark.parametrize(
    ("what", "module"),
    [
        ("m.wat", "m.wat"),
        ("nothere.wasm", "nothere.wasm"),
        ("hello:1", "hello:1"),
        ("./a:1", "./a:1"),
        ("/a:1", "/a:1"),
        ("file:m.wat", "file:m.wat"),
        ("https://a.example/m.wasm", "https://a.example/m.wasm"),
        ("oci:a.example/m:1", "oci:a.example/m:1"),
        ("a.example/m:1", "oci:a.example/m:1"),
        ("127.0.0.1:5001/x", "oci:127.0.0.1:5001/x"),
        ("localhost/x", "oci:localhost/x"),
        ("team/hello:1", "oci:team/hello:1"),
        ("a.example/m@sha256:" + "0" * 64, "oci:a.example/m@sha256:" + "0" * 64),
        ("hello", "hello"),
        ("target/hello", "target/hello"),
    ],
)
def test_a_module_is_a_file_or_an_image(what: str, module: str) -> None:
    assert [one.module for one in RunTarget(what=what).config_file({}).config.module] == [module]


@pytest.mark.parametrize("volume", ["/data", "=data", "/data="])
def test_an_invalid_volume(volume: str) -> None:
    with pytest.raises(StartupError) as error:
        RunTarget(what="m.wat", volumes=(volume,)).config_file({})
    assert str(error.value) == f'--volume: "{volume}": write GUEST=HOST or GUEST=HOST:ro'


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"what": "missing.wat"}, '"missing.wat": '),
        ({"entrypoint": "strat"}, 'entrypoint = "strat": there is no such export'),
        ({"allowed_hosts": ("ftp://b",)}, '--allow-host "ftp://b": '),
        ({"volumes": ("/data",)}, '--volume: "/data": '),
        ({"volumes": ("/data=nothere",)}, "--volume /data=nothere: there is no directory"),
    ],
)
def test_a_problem_names_no_key_of_modules_toml(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(StartupError) as error:
        RunTarget(**{"what": "m.wat", **fields}).load(NO_CACHE, load)
    assert str(error.value).startswith(problem)


@pytest.mark.parametrize("what", ["m.wat", "modules.toml"])
@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"time": "soon"}, '--time "soon": not a duration; write for example "30s"'),
        ({"body": "lots"}, '--limit-body "lots": not a size'),
        ({"header_block": 1}, "--header-block 1: must be at least 256B"),
    ],
)
def test_a_problem_names_the_option_of_a_limit(
    folder: Path, what: str, limits: dict[str, object], problem: str
) -> None:
    (folder / "modules.toml").write_text(guest("/a", "m"))
    with pytest.raises(StartupError) as error:
        RunTarget(what=what).load({**NO_CACHE, "limits": limits}, load)
    assert str(error.value).startswith(problem)


def test_a_module_that_only_prints_routes_has_no_entrypoint(folder: Path) -> None:
    wat = guests.says(b"/one one\n").replace('(export "_start")', '(export "_routes")')
    (folder / "m.wat").write_text(wat.removesuffix(")") + ' (func (export "one")))')
    with pytest.raises(StartupError) as error:
        RunTarget(what="m.wat").load(NO_CACHE, load)
    assert str(error.value) == '--entrypoint: "_start": there is no such export'


def test_limits_of_the_command_line_win_over_a_modules_own(folder: Path) -> None:
    (folder / "modules.toml").write_text('[limits]\ntime = "1s"\n' + guest("/a", "m", time="2s", memory="1MiB"))
    file = RunTarget(what="modules.toml").config_file({"limits": {"time": "3s"}})
    assert file.problems == ()
    (module,) = file.config.module
    assert (module.limits.time, module.limits.memory, file.config.server.concurrency) == (3, 2**20, 1)


def test_options_of_a_module_go_with_no_configuration(folder: Path) -> None:
    (folder / "modules.toml").write_text(guest("/a", "m"))
    target = RunTarget(what="modules.toml", volumes=("/a=b",), allowed_hosts=("a",), entrypoint="x", argv="y")
    target = replace(target, missing_imports="trap")
    with pytest.raises(StartupError) as error:
        target.config_file({})
    given = ["--volume", "--allow-host", "--entrypoint", "--argv", "--missing-imports"]
    assert [problem.where for problem in error.value.problems] == given


def test_missing_imports_of_a_module() -> None:
    (one,) = RunTarget(what="m.wat", missing_imports="trap").config_file({}).config.module
    assert one.missing_imports == "trap"


def test_one_route_answers_alone(folder: Path) -> None:
    (folder / "modules.toml").write_text(guest("/...", "m") + guest("/b", "m") + "entrypoint = 'other'\n")
    target = RunTarget(what="modules.toml", route="/b")
    assert [(one.route, one.entrypoint) for one in target.config_file({}).config.module] == [("/b", "other")]
    with pytest.raises(StartupError, match=r'--route: "/c": no module has it; the routes: /\.\.\., /b'):
        replace(target, route="/c").config_file({})
    with pytest.raises(StartupError, match="--route: goes with a configuration"):
        RunTarget(what="m.wat", route="/b").config_file({})


def test_one_container_of_a_pod_answers_alone(folder: Path) -> None:
    containers = "".join(f'\n  - {{name: {name}, image: "a.example/{name}:1"}}' for name in ("one", "two"))
    routes = '{"one": {"route": "/one"}, "two": {"route": "/two"}}'
    (folder / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: pod\n  annotations:\n"
        f"    alpha.wagi.krustlet.dev/modules: '{routes}'\nspec:\n  containers:{containers}\n"
    )
    file = RunTarget(what="pod.yaml", route="/two").config_file({})
    assert ([one.route for one in file.config.module], file.containers) == (["/two"], ("two",))


def test_a_configuration_with_problems_is_left_to_the_load(folder: Path) -> None:
    (folder / "modules.toml").write_text(guest("/...", "m") + "unknown = 1\n")
    assert RunTarget(what="modules.toml", route="/c").config_file({}).problems
