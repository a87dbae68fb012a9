"""The commands for registries and Pods: output and exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import count
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT
from tests.support import guests, publishing
from tests.support.cli import gateway
from tests.support.component_guests import PROBE
from tests.support.config import module
from tests.support.publishing import SECRETS, binary, digest_of, live_alone, publish, says
from tests.support.registry import PASSWORD, Registry

HELLO = ROOT / "samples" / "wat" / "hello.wat"
ENV = ROOT / "samples" / "c" / "env.wasm"
POD = ROOT / "samples" / "kubernetes" / "wasi-example.yaml"
_names = count()


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    live_alone(monkeypatch, tmp_path / "home")


@pytest.fixture(scope="module")
def private(private_registry: Registry) -> Registry:
    """The private registry, with a module."""
    publish(private_registry, "team/secret:1", guests.HELLO)
    return private_registry


@pytest.fixture
def name(registry: Registry) -> str:
    """A repository that no other test uses."""
    return f"{registry.address}/team/hello-{next(_names)}"


def run(*arguments: str | Path, cwd: Path, code: int = 0, environment: dict[str, str] | None = None) -> str:
    """The standard output of a command; with a `code` other than 0, its standard error."""
    stdout, stderr = publishing.run(*arguments, cwd=cwd, code=code, environment=environment)
    return stderr if code else stdout


def rows(table: str) -> list[list[str]]:
    """The cells of a printed table, without the head."""
    lines = [line for line in table.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def manifest(registry: Registry, reference: str) -> dict[str, object]:
    """The manifest of a reference in a registry."""
    repository, _, version = reference.removeprefix(f"{registry.address}/").partition("@")
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    answer = httpx.get(f"{registry.url}/v2/{repository.partition(':')[0]}/manifests/{version}", headers=accept)
    return dict(answer.json())


# push


def test_push_prints_the_reference_with_its_digest(registry: Registry, name: str, tmp_path: Path) -> None:
    printed = run("push", ENV, f"{name}:1", "--annotation", "a.b=1=2", "--annotation", "c=", cwd=tmp_path)
    assert re.fullmatch(rf"{name}:1@sha256:[0-9a-f]{{64}}\n", printed)
    found = manifest(registry, printed.strip())
    assert found["annotations"] == {"a.b": "1=2", "c": ""}
    assert [layer["mediaType"] for layer in found["layers"]] == ["application/wasm"]  # type: ignore[attr-defined]


def test_push_for_wagi(registry: Registry, name: str, tmp_path: Path) -> None:
    found = manifest(registry, run("push", ENV, f"oci://{name}", "--wasm-to-oci", cwd=tmp_path).strip())
    (layer,) = found["layers"]  # type: ignore[misc]
    assert layer["mediaType"] == "application/vnd.wasm.content.layer.v1+wasm"  # type: ignore[has-type]


def test_push_assembles_text(name: str, tmp_path: Path) -> None:
    run("push", HELLO, f"{name}:1", cwd=tmp_path)
    assert f"module │ {digest_of(binary(HELLO.read_text()))}" in re.sub(
        " +", " ", run("inspect", f"{name}:1", cwd=tmp_path)
    )


def test_a_component_is_pushed_served_and_inspected(name: str, tmp_path: Path) -> None:
    reference = run("push", PROBE, f"{name}:1", cwd=tmp_path).strip()
    (tmp_path / "modules.toml").write_text(module("/", f"oci:{reference}"))
    assert "hello" in run("run", "modules.toml", cwd=tmp_path)
    assert ["export", "wasi:cli/run@0.2.0  instance"] in rows(run("inspect", f"{name}:1", cwd=tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothere.wasm", "NAME:1"], "there is no file nothere.wasm"),
        (["nothere.wat", "NAME:1"], "there is no file nothere.wat"),
        ([".", "NAME:1"], ". is not a file"),
        (["text", "NAME:1"], "not a WebAssembly module"),
        (["bad.wat", "NAME:1"], "bad.wat: is no "),
        (["garbage.wasm", "NAME:1"], "garbage.wasm: is no module"),
        (["m.wat", f"NAME@sha256:{'0' * 64}"], "a push names a tag"),
        (["m.wat", "NAME:1", "--annotation", "x"], '--annotation: "x": write NAME=VALUE'),
        (["m.wat", "NAME:1", "--annotation", "=x"], "write NAME=VALUE"),
        (["m.wat", "UP/x:1"], "no upper-case letters"),
        (["m.wat", "NAME:ä"], "a tag is"),
        (["m.wat", "NAME:1", "--settings", "nothere.toml"], "nothere.toml: cannot be read"),
    ],
)
def test_push_says_what_is_wrong(name: str, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "text").write_text("text")
    (tmp_path / "bad.wat").write_text("(module")
    (tmp_path / "garbage.wasm").write_bytes(b"\0asm\1\0\0\0garbage")
    (tmp_path / "m.wat").write_text(guests.HELLO)
    arguments = [argument.replace("NAME", name) for argument in arguments]
    assert message in run("push", *arguments, cwd=tmp_path, code=1)


# pull


def test_pull_of_a_reference(name: str, tmp_path: Path) -> None:
    pushed = run("push", HELLO, f"{name}:1", cwd=tmp_path).strip()
    assert run("pull", f"{name}:1", cwd=tmp_path) == f"{pushed} pulled\n"
    assert run("pull", f"oci:{name}:1", cwd=tmp_path) == f"{pushed} is here already\n"


def test_pull_asks_anew_what_a_tag_stands_for(registry: Registry, name: str, tmp_path: Path) -> None:
    repository = name.partition("/")[2]
    (tmp_path / "modules.toml").write_text(module("/m", f"oci:{name}:1", 'pull_policy = "never"'))
    digests = [publish(registry, f"{repository}:1", says(text)) for text in ("one", "two")]
    assert run("pull", "modules.toml", cwd=tmp_path) == f"{name}:1@{digests[1]} pulled\n"
    publish(registry, f"{repository}:1", says("one"))
    assert run("pull", "modules.toml", cwd=tmp_path) == f"{name}:1@{digests[0]} pulled\n"


def test_pull_of_a_configuration(name: str, tmp_path: Path) -> None:
    run("push", HELLO, f"{name}:1", cwd=tmp_path)
    (tmp_path / "m.wat").write_text(guests.HELLO)
    files = module("/file", "m.wat")
    bad = module("/bad", "oci:x/UP:1")
    twice = module("/a", f"oci:{name}:1") + module("/b", f"oci:{name}:1")
    (tmp_path / "modules.toml").write_text(twice + files)
    assert run("pull", "modules.toml", "--cache-dir", "mine", cwd=tmp_path).count("pulled") == 1
    (tmp_path / "modules.toml").write_text(twice + module("/c", f"oci:{name}:2"))
    result = gateway("pull", "modules.toml", "--cache-dir", "mine", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stdout.count(b"is here already") == 1
    assert f"{name}:2" in result.stderr.decode()
    (tmp_path / "modules.toml").write_text(twice + bad)
    result = gateway("pull", "modules.toml", "--cache-dir", "mine", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"modules.toml: [[module]] 3 (/bad): module = 'oci:x/UP" in result.stderr
    (tmp_path / "modules.toml").write_text(files)
    result = gateway("pull", "modules.toml", "--cache-dir", "mine", cwd=tmp_path)
    assert (result.returncode, b"there is nothing to pull" in result.stderr) == (1, True)


def test_pull_of_a_pod_that_another_machine_serves(registry: Registry, tmp_path: Path) -> None:
    for container in ("hello", "error", "index", "http-example", "log"):
        publish(registry, f"krustlet-wagi-demo-{container}:v1.0.0", says(container))
    settings = f'[registries."webassembly.azurecr.io"]\nmirror = "{registry.address}"\n'
    (tmp_path / "gateway.toml").write_text(settings)
    printed = run("pull", POD, "--settings", "gateway.toml", "--cache-dir", "mine", cwd=tmp_path)
    assert printed.count("webassembly.azurecr.io/krustlet-wagi-demo-") == printed.count(" pulled\n") == 5
    listed = rows(run("cache", "ls", "--cache-dir", "mine", cwd=tmp_path))
    assert {reference for reference, *_ in listed} == {
        f"webassembly.azurecr.io/krustlet-wagi-demo-{container}:v1.0.0"
        for container in ("hello", "error", "index", "http-example", "log")
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NAME:nothere"], "NAME:nothere: REGISTRY does not have it"),
        ([f"NAME@sha256:{'0' * 64}"], "does not have it"),
        (["garb age"], "is not the name of a module in a registry"),
        (["nothere.toml"], "nothere.toml: cannot be read"),
        (["nothere.yaml"], "nothere.yaml: cannot be read"),
        (["modules.toml", "--settings", "x.toml"], "--settings: goes with a Pod manifest"),
        (["modules.toml", "--auth-file", "nothere.json"], "nothere.json to take credentials from"),
        (["NAME:1", "--cache-dir", "/proc/nothere"], "cannot be made a directory"),
    ],
)
def test_pull_says_what_is_wrong(
    registry: Registry, name: str, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "modules.toml").write_text(module("/m", f"oci:{name}:1"))
    arguments = [argument.replace("NAME", name) for argument in arguments]
    message = message.replace("NAME", name).replace("REGISTRY", registry.address)
    assert message in run("pull", *arguments, cwd=tmp_path, code=1)


def test_a_pull_that_is_not_kept_has_failed(name: str, tmp_path: Path) -> None:
    """A start without a network needs the stored module."""
    run("push", HELLO, f"{name}:1", cwd=tmp_path)
    run("pull", f"{name}:1", "--cache-dir", "kept", cwd=tmp_path)
    (tmp_path / "modules.toml").write_text(module("/m", f"oci:{name}:1") + '[cache]\nmax_module = "1KiB"\n')
    run("push", ENV, f"{name}:1", cwd=tmp_path)
    problem = run("pull", "modules.toml", "--cache-dir", "kept", cwd=tmp_path, code=1)
    assert f"{ENV.stat().st_size} bytes" in problem
    assert "1024 are allowed" in problem


def test_progress_is_shown_on_a_terminal_only(name: str, tmp_path: Path) -> None:
    run("push", ENV, f"{name}:1", cwd=tmp_path)
    piped = gateway("pull", f"{name}:1", "--cache-dir", "one", cwd=tmp_path)
    assert (piped.returncode, piped.stderr) == (0, b"")
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "wagi_gateway", "pull", f"{name}:1", "--cache-dir", "two"]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"}
    result = subprocess.run(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=terminal, env=environment, timeout=60, check=True
    )
    os.close(terminal)
    shown = os.read(controller, 65536).decode()
    os.close(controller)
    assert result.stdout == piped.stdout
    assert f"Pulling {name}:1" in shown


# private registries


def config_json(registry: Registry) -> str:
    return json.dumps({"auths": {registry.address: {"auth": SECRETS[1]}}})


@pytest.mark.parametrize("how", ["option", "key", "variable", "docker login", "password_file", "password_env"])
def test_pull_from_a_private_registry(private: Registry, tmp_path: Path, how: str) -> None:
    login = {"password_file": 'username = "user"\npassword_file = "password"\n'}
    login["password_env"] = login["password_file"].replace("password_file", "password_env").replace('"p', '"P')
    arguments: list[str] = []
    environment: dict[str, str] = {"Password": PASSWORD}
    (tmp_path / "auth.json").write_text(config_json(private))
    (tmp_path / "password").write_text(PASSWORD + "\n")
    match how:
        case "option":
            arguments = ["--auth-file", "auth.json"]
        case "variable":
            environment["REGISTRY_AUTH_FILE"] = str(tmp_path / "auth.json")
        case "docker login":
            (tmp_path / "home" / ".docker").mkdir()
            (tmp_path / "home" / ".docker" / "config.json").write_text(config_json(private))
    key = 'auth_file = "auth.json"\n' if how == "key" else ""
    table = f'[registries."{private.address}"]\nca_file = "{private.ca_file}"\n{login.get(how, "")}'
    (tmp_path / "modules.toml").write_text(key + module("/m", f"oci:{private.address}/team/secret:1") + table)
    assert "pulled" in run("pull", "modules.toml", *arguments, cwd=tmp_path, environment=environment)


@pytest.mark.parametrize(
    ("login", "words"),
    [
        ("", ["wants a login", "there are no credentials for"]),
        (
            'username = "user"\npassword_env = "WRONG"\n',
            ["does not accept the credentials", "the credentials were those of"],
        ),
        ('username = "user"\npassword_env = "NONE"\n', ['password_env = "NONE"', "no such variable"]),
        ('username = "user"\npassword_file = "none"\n', ['password_file = "none"', "cannot be read"]),
        ('username = "user"\n', ["needs one of password_file and password_env"]),
    ],
    ids=["nobody", "wrong", "no variable", "no file", "no password"],
)
def test_a_private_registry_requires_a_login(private: Registry, tmp_path: Path, login: str, words: list[str]) -> None:
    table = f'[registries."{private.address}"]\nca_file = "{private.ca_file}"\n{login}'
    (tmp_path / "modules.toml").write_text(module("/m", f"oci:{private.address}/team/secret:1") + table)
    error = run("pull", "modules.toml", cwd=tmp_path, code=1, environment={"WRONG": "wrong horse"})
    assert [word for word in [*words, private.address] if word not in error] == []
    assert "wrong horse" not in error


def test_push_and_inspect_take_the_tables_of_a_configuration(private: Registry, tmp_path: Path) -> None:
    """A settings file with `[registries]` alone is enough."""
    (tmp_path / "gateway.toml").write_text(f'[registries."{private.address}"]\nca_file = "{private.ca_file}"\n')
    (tmp_path / "auth.json").write_text(config_json(private))
    options = ["--settings", "gateway.toml", "--auth-file", "auth.json"]
    pushed = run("push", HELLO, f"{private.address}/team/new:1", *options, cwd=tmp_path)
    table = run("inspect", f"{private.address}/team/new:1", *options, cwd=tmp_path)
    assert pushed.strip().partition("@")[2] in table


# inspect


def test_inspect_of_a_reference(name: str, tmp_path: Path) -> None:
    pushed = run("push", ENV, f"{name}:1", "--annotation", "version=4", cwd=tmp_path).strip()
    found = rows(run("inspect", f"{name}:1", cwd=tmp_path))
    data = ENV.read_bytes()
    assert found[:5] == [
        ["reference", f"{name}:1"],
        ["digest", pushed.partition("@")[2]],
        ["layer", f"{digest_of(data)}  application/wasm  27.9KiB"],
        ["annotation", "version=4"],
        ["module", f"{digest_of(data)}  27.9KiB"],
    ]
    assert found[5:] == rows(run("inspect", ENV, cwd=tmp_path))[1:]


def test_inspect_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "m.wat").write_text(
        '(module (import "e" "f" (func (param i32 i64) (result f32)))'
        ' (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))'
        ' (import "e" "g" (global i32)) (memory (export "m") 1)'
        ' (global (export "g") i32 (i32.const 1)) (table (export "t") 1 funcref) (func (export "_start")))'
    )
    found = rows(run("inspect", "m.wat", cwd=tmp_path))
    assert found[0][1].startswith(digest_of((tmp_path / "m.wat").read_bytes()))
    assert found[1:] == [
        ["import", 'e.f  func (i32, i64) -> (f32)  (not provided; missing_imports = "trap" makes a call of it trap)'],
        ["import", "wasi_snapshot_preview1.clock_time_get  func (i32, i64, i32) -> (i32)"],
        ["import", "e.g  global  (not provided)"],
        ["export", "m  memory"],
        ["export", "g  global"],
        ["export", "t  table"],
        ["export", "_start  func () -> ()"],
    ]


def test_inspect_of_a_component_says_which_interfaces_are_missing(tmp_path: Path) -> None:
    names = "wasi:io/error@0.2.3", "wasi:http/types@0.2.3", "wasi:io/error@0.3.0"
    imports = " ".join(f'(import "{name}" (instance))' for name in names)
    (tmp_path / "m.wat").write_text(f"(component {imports})")
    assert rows(run("inspect", "m.wat", cwd=tmp_path))[1:] == [
        ["import", "wasi:io/error@0.2.3  instance"],
        ["import", "wasi:http/types@0.2.3  instance  (not provided)"],
        ["import", "wasi:io/error@0.3.0  instance  (not provided)"],
    ]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("garbage.wasm", "garbage.wasm: is no module"),
        ("component.wasm", "component.wasm: cannot be read"),
        (".", ". is not a file"),
        (
            "nothere.wasm",
            "there is no file nothere.wasm",
        ),  # no registry is asked for docker.io/library/nothere.wasm
        ("../nothere.wat", "there is no file"),
        ("NAME:nothere", "does not have it"),
        ("oci:x/UP", "no upper-case letters"),
    ],
)
def test_inspect_says_what_is_wrong(name: str, tmp_path: Path, what: str, message: str) -> None:
    (tmp_path / "garbage.wasm").write_bytes(b"\0asm\1\0\0\0garbage")
    (tmp_path / "component.wasm").write_bytes(b"\0asm\x0d\0\1\0\x0a")
    assert message in run("inspect", what.replace("NAME", name), cwd=tmp_path, code=1)


# cache


def test_the_cache_is_listed_and_pruned(registry: Registry, name: str, tmp_path: Path) -> None:
    repository = name.partition("/")[2]
    sizes = {"old": 5000, "middle": 3000, "new": 1000}
    digests = {}
    store = tmp_path / "mine" / "registry"
    for tag, size in sizes.items():
        digests[tag] = publish(registry, f"{repository}:{tag}", says(tag.ljust(size)))
        run("pull", f"{name}:{tag}", "--cache-dir", "mine", cwd=tmp_path)
    for age, tag in enumerate(("new", "middle", "old")):
        path = store / "images" / f"{digests[tag].replace(':', '-')}.json"
        used = path.stat().st_mtime - age * 10 * 86400
        os.utime(path, (used, used))
    listed = rows(run("cache", "ls", "--cache-dir", "mine", cwd=tmp_path))
    assert [(row[0], row[1], row[4]) for row in listed] == [
        (f"{name}:new", digests["new"], "now"),
        (f"{name}:middle", digests["middle"], "10d ago"),
        (f"{name}:old", digests["old"], "20d ago"),
    ]
    assert all(re.fullmatch(r"\d+(\.\d)?(B|KiB)", row[2]) for row in listed)

    def prune(*options: str) -> list[str]:
        printed = run("cache", "prune", *options, "--cache-dir", "mine", cwd=tmp_path).splitlines()
        return [line.partition(" removed (")[0] for line in printed]

    assert prune() == prune("--max-age", "30d") == prune("--max-size", "1GiB") == []
    assert prune("--max-age", "15d") == [f"{name}:old"]
    assert prune("--max-size", "2KiB") == [f"{name}:middle"]
    assert prune("--max-age", "0s", "--max-size", "0") == [f"{name}:new"]
    assert rows(run("cache", "ls", "--cache-dir", "mine", cwd=tmp_path)) == []
    assert [path.name for path in (store / "blobs" / "sha256").iterdir()] == []


def test_a_damaged_module_is_pulled_again(name: str, tmp_path: Path) -> None:
    run("push", HELLO, f"{name}:1", cwd=tmp_path)
    run("pull", f"{name}:1", "--cache-dir", "mine", cwd=tmp_path)
    blobs = tmp_path / "mine" / "registry" / "blobs" / "sha256"
    blob = blobs / digest_of(binary(HELLO.read_text())).removeprefix("sha256:")
    blob.write_bytes(blob.read_bytes()[:-1])
    assert rows(run("cache", "ls", "--cache-dir", "mine", cwd=tmp_path)) == []
    assert "pulled\n" in run("pull", f"{name}:1", "--cache-dir", "mine", cwd=tmp_path)
    assert blob.read_bytes() == binary(HELLO.read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune", "--max-age", "soon"], '--max-age: "soon": write for example "30d" or "12h"'),
        (["prune", "--max-size", "lots"], '--max-size: "lots": write for example "500MiB"'),
        (["prune", "--max-size", "-1"], '--max-size: "-1"'),
        (["ls", "--cache-dir", "file"], "cannot be made a directory"),
        (["ls", "--cache-dir", "open"], "writable by others (mode 0777)"),
        (["prune", "--cache-dir", "link"], "is a symbolic link"),
    ],
)
def test_cache_says_what_is_wrong(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "open" / "registry").mkdir(parents=True)
    (tmp_path / "open" / "registry").chmod(0o777)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "registry").symlink_to(tmp_path)
    assert message in run("cache", *arguments, cwd=tmp_path, code=1)


# convert


def test_convert_prints_a_modules_toml(tmp_path: Path) -> None:
    printed = run("convert", POD, cwd=tmp_path)
    tables = tomllib.loads(printed)
    assert tables["server"] == {"listen": "0.0.0.0:3001"}
    assert tables["module"][0] == {
        "route": "/http-example",
        "module": "oci:webassembly.azurecr.io/krustlet-wagi-demo-http-example:v1.0.0",
        "pull_policy": "always",
        "allowed_hosts": ["https://api.brigade.sh"],
    }
    assert len(tables["module"]) == 5
    assert "# container krustlet-wagi-demo-http-example\n" in printed


def test_convert_says_every_mistake(tmp_path: Path) -> None:
    pod = (
        POD.read_text()
        .replace('"/error"', '"error"')
        .replace("Always\n      name: krustlet-wagi-demo-log", "Sometimes\n      name: krustlet-wagi-demo-log")
    )
    (tmp_path / "pod.yaml").write_text(pod)
    errors = run("convert", "pod.yaml", cwd=tmp_path, code=1)
    assert 'a route starts with "/"' in errors
    assert '(krustlet-wagi-demo-log): imagePullPolicy = "Sometimes"' in errors
    assert not gateway("convert", "pod.yaml", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("", "is empty"),
        ("a: b: c", "is not valid YAML"),
        ("kind: Deployment", "holds no Pod"),
        ("- 1", "holds no Pod"),
        ("\x00", "is not valid YAML"),
    ],
)
def test_convert_wants_a_pod(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "pod.yaml").write_text(text)
    error = run("convert", "pod.yaml", cwd=tmp_path, code=1)
    assert error.startswith("error: pod.yaml: ")
    assert message in error


# all of them


def test_as_processes(name: str, tmp_path: Path) -> None:
    """Each exit code in a process of its own."""
    commands = {
        f"push {shlex.quote(str(HELLO))} {name}:1": (0, rb"NAME:1@sha256:[0-9a-f]{64}\n", b""),
        f"pull {name}:1": (0, rb"NAME:1@sha256:[0-9a-f]{64} pulled\n", b""),
        f"inspect {name}:2": (1, b"", rb"error: NAME:2: .+\n"),
        "cache prune --max-age": (2, b"", rb"Error: Option '--max-age' requires an argument\.\n"),
    }
    for command, (code, *patterns) in commands.items():
        result = gateway(*shlex.split(command), cwd=tmp_path)
        assert result.returncode == code
        for pattern, printed in zip(patterns, (result.stdout, result.stderr), strict=True):
            assert re.fullmatch(pattern.replace(b"NAME", re.escape(name).encode()), printed), printed


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("serve", ["--settings", "--auth-file", "--cache-dir", "Pod manifest"]),
        ("check", ["--settings", "--auth-file", "--cache-dir"]),
        ("routes", ["--settings", "--auth-file", "--cache-dir"]),
        ("run", ["oci:REFERENCE", "--auth-file"]),
        ("pull", ["CONFIG|REF", "--settings", "--settings", "--cache-dir", "--auth-file"]),
        ("push", ["MODULE", "REF", "--annotation", "--wasm-to-oci", "--settings", "--auth-file"]),
        ("inspect", ["MODULE|REF", "--settings", "--cache-dir", "--auth-file"]),
        ("cache", ["ls", "prune"]),
        ("cache ls", ["--cache-dir", "--settings"]),
        ("cache prune", ["--max-age", "--max-size", "--cache-dir", "--settings"]),
        ("convert", ["POD.yaml"]),
    ],
)
def test_help(tmp_path: Path, command: str, words: list[str]) -> None:
    page = " ".join(run(*command.split(), "--help", cwd=tmp_path).split())
    assert [word for word in words if word not in page] == []


@pytest.mark.parametrize("command", ["pull", "push", "inspect", "convert", "cache prune --max-age"])
def test_a_wrong_command_line(tmp_path: Path, command: str) -> None:
    run(*command.split(), cwd=tmp_path, code=2)
