"""Pod manifests, as in a cluster with Krustlet, served on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, Server, running, wait_until, warnings
from tests.support import guests
from tests.support.attacks import together
from tests.support.cli import gateway
from tests.support.component_guests import PROBE
from tests.support.config import module
from tests.support.processes import workers
from tests.support.publishing import SECRETS, live_alone, publish, run, says
from tests.support.registry import PASSWORD, Registry, running_registry

ARTICLE = ROOT / "samples" / "kubernetes" / "wasi-example.yaml"
MODULES = {
    "hello": "wat/hello.wat",
    "error": "wat/error.wat",
    "index": "c/index.wasm",
    "http-example": "c/http-example.wasm",
    "log": "rust/log.wasm",
}
"""The article's images, and the samples in them."""
ANNOTATIONS = "alpha.wagi.krustlet.dev/"

_OPEN = """
 (import "wasi_snapshot_preview1" "path_open"
  (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"""


def opens(name: str, flags: int, rights: int, then: str) -> str:
    """A guest that opens a file of its first volume, then runs `then` with the descriptor at 512, or prints errno."""
    path = name.encode()
    return f"""(module {guests.FD_WRITE} {guests.FD_READ} {_OPEN}
 (memory (export "memory") 2)
 (data (i32.const 1024) {guests.wat_string(guests.CONTENT_TYPE)})
 (data (i32.const 2048) {guests.wat_string(path)}) (data (i32.const 3072) "kept by a guest\\n")
 {guests.WRITE}
 (func (export "_start") (local $errno i32)
  (call $write (i32.const 1) (i32.const 1024) (i32.const {len(guests.CONTENT_TYPE)}))
  (local.set $errno (call $open (i32.const 3) (i32.const 0) (i32.const 2048) (i32.const {len(path)})
   (i32.const {flags}) (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 512)))
  (if (local.get $errno) (then
   (i32.store8 (i32.const 600) (i32.add (i32.const 48) (i32.div_u (local.get $errno) (i32.const 10))))
   (i32.store8 (i32.const 601) (i32.add (i32.const 48) (i32.rem_u (local.get $errno) (i32.const 10))))
   (call $write (i32.const 1) (i32.const 600) (i32.const 2))
   (return)))
  {then}))"""


KEEPS = opens("file", 1, 64, "(call $write (i32.load (i32.const 512)) (i32.const 3072) (i32.const 16))")
"""Writes "kept by a guest" to `file`; prints nothing on success."""
SHOWS = opens(
    "file",
    0,
    2,
    """(i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.const 4096))
  (drop (call $fd_read (i32.load (i32.const 512)) (i32.const 0) (i32.const 1) (i32.const 8)))
  (call $write (i32.const 1) (i32.const 4096) (i32.load (i32.const 8)))""",
)
"""Prints `file`."""
NO_ENTRY, NOT_PERMITTED, READ_ONLY = "44", "63", "69"
GROWS = f"""(module {guests.FD_WRITE} (memory (export "memory") 1)
 (data (i32.const 1024) {guests.wat_string(guests.CONTENT_TYPE + b"grownno")})
 {guests.WRITE}
 (func (export "_start") (local $at i32)
  (local.set $at (select (i32.const {1029 + len(guests.CONTENT_TYPE)}) (i32.const {1024 + len(guests.CONTENT_TYPE)})
   (i32.eq (memory.grow (i32.const 32)) (i32.const -1))))
  (call $write (i32.const 1) (i32.const 1024) (i32.const {len(guests.CONTENT_TYPE)}))
  (call $write (i32.const 1) (local.get $at) (i32.const 5))))"""
"""Grows memory by 2 MiB; prints `grown`, or `no` and three NULs."""


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    live_alone(monkeypatch, tmp_path / "home")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with the article's modules and modules of these tests."""
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        for name, sample in MODULES.items():
            path = ROOT / "samples" / sample
            source: Path | str = path.read_text() if path.suffix == ".wat" else path
            publish(running, f"krustlet-wagi-demo-{name}:v1.0.0", source)
        publish(running, "team/env:1", ROOT / "samples" / "c" / "env.wasm")
        publish(running, "team/probe:1", PROBE)
        for name, wat in {"keeps": KEEPS, "shows": SHOWS, "grows": GROWS, "hello": guests.HELLO}.items():
            publish(running, f"team/{name}:1", wat)
        yield running


@pytest.fixture(scope="module")
def private(private_registry: Registry) -> Registry:
    """The private registry, with a module."""
    publish(private_registry, "team/hello:1", says("for members"))
    return private_registry


@pytest.fixture
def settings(registry: Registry, tmp_path: Path) -> Path:
    """Settings that a manifest cannot have; the proxy of outbound calls is unreachable."""
    path = tmp_path / "gateway.toml"
    path.write_text(
        f'[registries."webassembly.azurecr.io"]\nmirror = "{registry.address}"\n'
        '[outbound]\nproxy = "http://127.0.0.1:1"\n'
    )
    return path


def write_pod(
    path: Path,
    registry: Registry,
    containers: dict[str, tuple[str, dict[str, Any]]],
    volumes: dict[str, dict[str, Any]] | None = None,
    host: str = "127.0.0.1:0",
) -> Path:
    """Writes a manifest with the route and fields of each container, whose name is that of its image in `team/`."""
    images = {name: f"{registry.address}/team/{name.partition('-')[0]}:1" for name in containers}
    modules = {name: {"route": route} for name, (route, _) in containers.items()}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "test",
            "annotations": {ANNOTATIONS + "default-host": host, ANNOTATIONS + "modules": json.dumps(modules)},
        },
        "spec": {
            "containers": [{"name": name, "image": images[name]} | fields for name, (_, fields) in containers.items()],
            "volumes": [{"name": name} | volume for name, volume in (volumes or {}).items()],
        },
    }
    path.write_text(json.dumps(pod))
    return path


def mounted(name: str, path: str = "/data", **options: object) -> dict[str, Any]:
    """The fields of a container with one volume."""
    return {"volumeMounts": [{"name": name, "mountPath": path, **options}]}


def said(*arguments: str | Path, cwd: Path, code: int) -> str:
    """The output of a command."""
    if arguments[0] != "serve":
        return "".join(run(*arguments, cwd=cwd, code=code))
    result = gateway(*map(str, arguments), cwd=cwd)
    output = (result.stdout + result.stderr).decode()
    assert result.returncode == code, output
    assert "Traceback" not in output
    return output


def the_article_is_served(server: Server) -> None:
    answers = {path: server.get(path) for path in ("/", "/hello", "/hello/world", "/error", "/log", "/http-example")}
    assert {path: answer.status_code for path, answer in answers.items()} == {
        "/": 200,
        "/hello": 200,
        "/hello/world": 200,
        "/error": 404,
        "/log": 200,
        "/http-example": 502,
    }
    assert "<h1>wagi-gateway samples</h1>" in answers["/"].text
    assert answers["/hello"].text == answers["/hello/world"].text == "hello world\n"
    assert answers["/error"].text == "This 404 was chosen by the guest.\n"
    assert answers["/log"].text == "Three lines were written to this module's log.\n"
    assert answers["/http-example"].text.startswith("outbound request failed: no usable answer came from https://api.")
    assert server.get("/helloworld").status_code == server.get("/log/x").status_code == 404
    assert "Traceback" not in server.log


def test_the_article(settings: Path, tmp_path: Path, cache: Path) -> None:
    shutil.copy(ARTICLE, tmp_path / "wasi-example.yaml")
    pod = tmp_path / "wasi-example.yaml"
    with running(tmp_path, pod, "--settings", str(settings), cache=cache) as server:
        the_article_is_served(server)
        assert server.stdout[-1].startswith("Ready: serving on http://127.0.0.1:")
        assert not warnings(server.log.partition("GET /")[0])  # no warnings

    converted = said("convert", pod, cwd=tmp_path, code=0)
    (tmp_path / "converted").mkdir()
    with running(tmp_path / "converted", converted + settings.read_text(), cache=cache) as server:
        the_article_is_served(server)


def test_check_and_routes_know_the_article(settings: Path, tmp_path: Path, cache: Path) -> None:
    options = ("--settings", settings, "--cache-dir", cache)
    assert said("check", ARTICLE, *options, cwd=tmp_path, code=0).count(" ok ") == 5
    routes = said("routes", ARTICLE, *options, cwd=tmp_path, code=0)
    for name in MODULES:
        assert f"oci:webassembly.azurecr.io/krustlet-wagi-demo-{name}:v1.0.0" in routes
    assert "https://api.brigade.sh" in routes


def test_containers_share_an_empty_directory(registry: Registry, tmp_path: Path, cache: Path) -> None:
    containers = {
        "keeps": ("/keep", mounted("shared")),
        "keeps-not": ("/keep-not", mounted("shared", readOnly=True)),
        "shows": ("/show", mounted("shared", "/elsewhere")),
        "shows-own": ("/show-own", mounted("own")),
    }
    pod = write_pod(tmp_path / "pod.yaml", registry, containers, {"shared": {"emptyDir": {}}, "own": {}})
    with running(tmp_path, pod, "--workers", "2", cache=cache) as server:
        assert server.get("/show").text == NO_ENTRY
        assert server.get("/keep-not").text in (NOT_PERMITTED, READ_ONLY)
        assert server.get("/keep").text == ""
        assert together(8, lambda _: server.get("/show").text) == ["kept by a guest\n"] * 8  # any worker
        assert server.get("/show-own").text == NO_ENTRY
        assert len(list((tmp_path / "tmp").glob("wagi-gateway-*"))) == 2
    assert list((tmp_path / "tmp").glob("wagi-gateway-*")) == []
    with running(tmp_path, pod, cache=cache) as server:
        assert server.get("/show").text == NO_ENTRY
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0
    assert list((tmp_path / "tmp").glob("wagi-gateway-*")) == []


def test_no_command_leaves_an_empty_directory(registry: Registry, tmp_path: Path, cache: Path) -> None:
    containers: dict[str, tuple[str, dict[str, Any]]] = {"shows": ("/show", mounted("own"))}
    pod = write_pod(tmp_path / "pod.yaml", registry, containers, {"own": {}}, host="192.0.2.1:1")
    said("check", pod, "--cache-dir", cache, cwd=tmp_path, code=0)
    said("routes", pod, "--cache-dir", cache, cwd=tmp_path, code=0)
    assert "cannot serve on 192.0.2.1:1" in said("serve", pod, "--cache-dir", cache, cwd=tmp_path, code=3)
    assert list((tmp_path / "tmp").glob("wagi-gateway-*")) == []


def test_a_directory_of_the_host(registry: Registry, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "data" / "inner").mkdir(parents=True)
    (tmp_path / "data" / "file").write_text("the host's\n")
    containers = {
        "shows": ("/show", mounted("data", readOnly=True)),
        "keeps-not": ("/keep-not", mounted("data", readOnly=True)),
        "keeps-inner": ("/keep-inner", mounted("data", subPath="inner")),
    }
    volumes = {"data": {"hostPath": {"path": str(tmp_path / "data"), "type": "Directory"}}}
    pod = write_pod(tmp_path / "pod.yaml", registry, containers, volumes)
    with running(tmp_path, pod, cache=cache) as server:
        assert server.get("/show").text == "the host's\n"
        assert server.get("/keep-not").text in (NOT_PERMITTED, READ_ONLY)
        assert server.get("/keep-inner").text == ""
    assert (tmp_path / "data" / "file").read_text() == "the host's\n"
    assert (tmp_path / "data" / "inner" / "file").read_text() == "kept by a guest\n"


def test_environment_and_memory(registry: Registry, tmp_path: Path, cache: Path) -> None:
    variables = [
        {"name": "MODE", "value": "test"},
        {"name": "TWICE", "value": "$(MODE) $(MODE) $$(MODE) $(NONE)"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    containers: dict[str, tuple[str, dict[str, Any]]] = {
        "env": ("/env", {"env": variables}),
        "probe": ("/probe", {"env": variables}),
        "grows": ("/grow", {}),
        "grows-not": ("/grow-not", {"resources": {"limits": {"memory": "1Mi"}}}),
    }
    pod = write_pod(tmp_path / "pod.yaml", registry, containers)
    with running(tmp_path, pod, "-e", "MODE=option", cache=cache) as server:
        lines = server.get("/env").text.splitlines()
        assert [line for line in lines if line.startswith(("MODE", "TWICE", "POD="))] == [
            "MODE=option",
            "POD=test",
            "TWICE=test test $(MODE) $(NONE)",
        ]
        assert "TWICE=test test $(MODE) $(NONE)" in server.get("/probe?variables").text.splitlines()
        assert server.get("/grow").text == "grown"
        assert server.get("/grow-not").text.rstrip("\0") == "no"


def test_converted_it_does_the_same(registry: Registry, tmp_path: Path, cache: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("the host's\n")
    containers: dict[str, tuple[str, dict[str, Any]]] = {
        "keeps": ("/keep", mounted("shared")),
        "shows": ("/show", mounted("shared")),
        "shows-host": ("/show-host", mounted("host", readOnly=True)),
        "keeps-not": ("/keep-not", mounted("host", readOnly=True)),
        "env": ("/env", {"env": [{"name": "QUOTED", "value": '"""\\ é\t\n[x]'}], "imagePullPolicy": "Always"}),
        "grows-not": ("/grow-not", {"resources": {"limits": {"memory": "1Mi"}}}),
    }
    volumes: dict[str, dict[str, Any]] = {"shared": {}, "host": {"hostPath": {"path": str(tmp_path / "data")}}}
    pod = write_pod(tmp_path / "pod.yaml", registry, containers, volumes)
    converted = said("convert", pod, cwd=tmp_path, code=0)
    answers = []
    for config in (pod, converted):
        with running(tmp_path, config, cache=cache) as server:
            paths = ["/show", "/keep", "/show", "/show-host", "/keep-not", "/grow-not"]
            variable = server.get("/env").text.partition("QUOTED=")[2].partition("REMOTE_ADDR")[0]
            answers.append([variable, *(server.get(path).text for path in paths)])
    assert answers[0] == answers[1]
    assert answers[0][:5] == ['"""\\ é\t\n[x]\n', NO_ENTRY, "", "kept by a guest\n", "the host's\n"]


def test_paths_of_the_settings_start_there(private: Registry, tmp_path: Path, cache: Path) -> None:
    assert private.ca_file
    (tmp_path / "etc" / "secrets").mkdir(parents=True)
    shutil.copy(private.ca_file, tmp_path / "etc" / "ca.pem")
    (tmp_path / "etc" / "secrets" / "password").write_text(PASSWORD + "\n")
    settings = tmp_path / "etc" / "gateway.toml"
    settings.write_text(
        f'[registries."{private.address}"]\nca_file = "ca.pem"\n'
        'username = "user"\npassword_file = "secrets/password"\n[log]\nformat = "json"\n'
    )
    pod = write_pod(tmp_path / "pod.yaml", private, {"hello": ("/hello", {})})
    with running(tmp_path, pod, "--settings", str(settings), cache=cache) as server:
        assert server.get("/hello").text == "for members"
        server.wait_for_log(r'"message": "GET /hello"')
        assert not any(secret in server.log + "".join(server.stdout) for secret in SECRETS)


def test_a_directory_of_the_host_does_not_start_at_the_settings(
    registry: Registry, tmp_path: Path, cache: Path
) -> None:
    """A Pod's paths are absolute, so its settings can be anywhere."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "gateway.toml").write_text('[cache]\ndirectory = "cache"\n')
    pod = write_pod(tmp_path / "pod.yaml", registry, {"hello": ("/hello", {})})
    said("check", pod, "--settings", "etc/gateway.toml", cwd=tmp_path, code=0)
    assert (tmp_path / "etc" / "cache" / "registry" / "blobs").is_dir()
    said("check", pod, "--settings", "etc/gateway.toml", "--cache-dir", cache, cwd=tmp_path, code=0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[[module]]\nroute = "/x"\nmodule = "x.wasm"\n', "[[module]]: the modules are those of the Pod manifest"),
        ("[registries", "gateway.toml: is not valid TOML"),
        ("[registry]\n", "gateway.toml: registry: unknown key; did you mean registries?"),
        ('[log]\nformat = "xml"\n', 'gateway.toml: log.format = "xml"'),
        ('[registries."x"]\nmirro = "y"\n', "did you mean mirror?"),
    ],
)
def test_settings_that_are_wrong(registry: Registry, tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "gateway.toml").write_text(text)
    pod = write_pod(tmp_path / "pod.yaml", registry, {"hello": ("/hello", {})})
    assert problem in said("routes", pod, "--settings", "gateway.toml", cwd=tmp_path, code=1)


def test_settings_go_with_a_pod(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").touch()
    (tmp_path / "modules.toml").write_text(module("/x", "x.wasm"))
    for command, code in {"serve": 3, "check": 1, "routes": 1, "pull": 1}.items():
        options = (command, "modules.toml", "--settings", "gateway.toml")
        if command == "check":
            assert "goes with a Pod manifest" in said(*options, cwd=tmp_path, code=code)
        else:
            assert said(*options, cwd=tmp_path, code=code).startswith("error: --settings: goes with a Pod manifest")
    assert "cannot be read" in said("serve", ARTICLE, "--settings", "nothere.toml", cwd=tmp_path, code=3)


def test_problems_name_the_container(registry: Registry, tmp_path: Path, cache: Path) -> None:
    containers: dict[str, tuple[str, dict[str, Any]]] = {
        "hello": ("/hello", {}),
        "hello-none": ("/none", {"image": f"{registry.address}/team/none:1"}),
        "hello-command": ("/command", {"command": ["x"]}),
        "hello-mount": ("/mount", mounted("nothere")),
        "hello-host": ("/host", mounted("host")),
        "hello-never": ("/never", {"image": f"{registry.address}/team/keeps:2", "imagePullPolicy": "Never"}),
    }
    volumes = {"host": {"hostPath": {"path": str(tmp_path / "nodirectory")}}}
    pod = write_pod(tmp_path / "pod.yaml", registry, containers, volumes)
    lines = said("serve", pod, "--cache-dir", cache, cwd=tmp_path, code=3).splitlines()
    words = {
        "hello-none": "does not have it",
        "hello-command": "command",
        "hello-mount": "nothere",
        "hello-host": "there is no directory",
        "hello-never": 'the pull policy is "never"',
    }
    for container, word in words.items():
        assert [line for line in lines if container in line and word in line], (container, lines)
    assert not any("[[module]]" in line for line in lines)


def test_a_pod_outlives_a_worker(registry: Registry, tmp_path: Path, cache: Path) -> None:
    """A Pod with an emptyDir outlives a worker, too: the next worker uses the same directory."""
    containers = {"keeps": ("/keep", mounted("shared")), "shows": ("/show", mounted("shared"))}
    pod = write_pod(tmp_path / "pod.yaml", registry, containers, {"shared": {}})
    with running(tmp_path, pod, "--workers", "2", cache=cache) as server:
        assert server.get("/keep").text == ""
        before = workers(server)
        for worker in before:
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: len(workers(server) - before) == 2)
        answers = together(4, lambda _: httpx.get(f"{server.url}/show", trust_env=False, timeout=30).text)
        assert answers == ["kept by a guest\n"] * 4
