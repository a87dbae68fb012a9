"""Sites whose modules come from a registry: moved tags, workers, logins, and starts without a network."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server, running, wait_until, warnings
from tests.support import guests
from tests.support.admin import ADMIN, value
from tests.support.attacks import together
from tests.support.cli import gateway
from tests.support.config import module
from tests.support.fault_proxy import Answer, FaultProxy, Received
from tests.support.processes import workers
from tests.support.publishing import SECRETS, binary, live_alone, publish, run, says
from tests.support.registry import PASSWORD, Registry, running_registry

START = 1.0
"""Seconds from the start of the process to `Ready:` with a warm store and no registry."""
IMPORT = 0.5
"""Seconds for the interpreter and the imports, at most, unless the machine is overloaded."""
_names = count()


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    live_alone(monkeypatch, tmp_path / "home")


@pytest.fixture(scope="module")
def private(private_registry: Registry) -> Registry:
    """The private registry, with a module."""
    publish(private_registry, "team/hello:1", says("for members"))
    return private_registry


@pytest.fixture
def name() -> str:
    """A repository that no other test uses."""
    return f"team/hello-{next(_names)}"


def answer(directory: Path, config: str, *arguments: str) -> str:
    """Starts a server; returns its response at /m."""
    with running(directory, config, *arguments, cache=directory / "cache") as server:
        assert "Traceback" not in server.log
        return server.get("/m").text


def failed(directory: Path, config: str, *arguments: str) -> str:
    """The output of a start that fails."""
    (directory / "modules.toml").write_text(config)
    result = gateway("serve", "modules.toml", "--cache-dir", "cache", *arguments, cwd=directory)
    output = (result.stdout + result.stderr).decode()
    assert result.returncode == 3, output
    assert "Traceback" not in output
    assert not any(secret in output for secret in SECRETS)
    return output


# moved tags


MOVES = {
    ("1", "always"): "two",
    ("1", "if-not-present"): "one",
    ("1", "never"): "one",
    ("1", None): "one",
    ("latest", None): "two",
    ("latest", "if-not-present"): "one",
}
"""The served module after a tag has moved from `one` to `two`, by tag and policy."""


def test_tags_that_move_between_two_starts(registry: Registry, name: str, tmp_path: Path) -> None:
    config = ""
    for number, (tag, policy) in enumerate(MOVES):
        publish(registry, f"{name}-{number}:{tag}", says("one"))
        more = f'pull_policy = "{policy}"' if policy else ""
        config += module(f"/{number}", f"oci:{registry.address}/{name}-{number}:{tag}", more)
    problem = failed(tmp_path, config)
    assert 'the pull policy is "never"; `wagi-gateway pull' in problem
    assert len(problem.splitlines()) == 1
    run("pull", "modules.toml", "--cache-dir", "cache", cwd=tmp_path)
    with running(tmp_path, config, cache=tmp_path / "cache") as server:
        assert {server.get(f"/{number}").text for number, _ in enumerate(MOVES)} == {"one"}
    for number, (tag, _) in enumerate(MOVES):
        publish(registry, f"{name}-{number}:{tag}", says("two"))
    with running(tmp_path, ADMIN + config, cache=tmp_path / "cache") as server:
        assert [server.get(f"/{number}").text for number, _ in enumerate(MOVES)] == list(MOVES.values())
        for outcome, count in {"downloaded": 1, "stored": 5}.items():  # `two` has two names and is downloaded once
            assert value(server, "wagi_module_pulls_total", outcome=outcome) == count
        assert value(server, "wagi_module_loads_total", source="compiler") == 1
        assert value(server, "wagi_module_loads_total", source="cache") == 1


def test_a_digest_does_not_move(registry: Registry, name: str, tmp_path: Path) -> None:
    digest = publish(registry, f"{name}:1", says("one"))
    publish(registry, f"{name}:1", says("two"))
    with FaultProxy(registry.address) as proxy:
        config = module("/m", f"oci:{proxy.address}/{name}@{digest}", 'pull_policy = "always"')
        assert answer(tmp_path, config) == "one"
        proxy.received.clear()
        assert answer(tmp_path, config.replace("@", ":1@")) == "one"
        assert proxy.received == []


def test_run_of_a_reference(registry: Registry, name: str, tmp_path: Path) -> None:
    publish(registry, f"{name}:1", guests.HELLO)
    result = gateway("run", f"oci:{registry.address}/{name}:1", "--cache-dir", "cache", cwd=tmp_path)
    assert (result.returncode, result.stdout.endswith(b"\r\n\r\nhello world\n"), result.stderr) == (0, True, b"")
    result = gateway("run", f"oci:{registry.address}/{name}:2", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (3, b"")
    assert b"does not have it" in result.stderr


# workers


@pytest.mark.parametrize("number", [2, 4])
def test_workers_use_one_download_and_the_very_same_module(
    registry: Registry, name: str, tmp_path: Path, number: int
) -> None:
    """All workers use one download, even if the tag moves while they start."""
    publish(registry, f"{name}:latest", says("one"))

    def move(request: Received, proxy: FaultProxy) -> Answer:
        genuine = proxy.genuine(request)
        publish(registry, f"{name}:latest", says("two"))
        return genuine

    with FaultProxy(registry.address).fault(lambda request: request.is_blob, move, 1) as proxy:
        config = module("/m", f"oci:{proxy.address}/{name}")
        with running(tmp_path, config, "--workers", str(number), cache=tmp_path / "cache") as server:
            assert len(workers(server)) == number
            assert set(answers(server, 8 * number)) == {"one"}
            asked = [request.path for request in proxy.received if request.is_manifest]
        assert len(proxy.downloads) == len(set(proxy.downloads))
        assert len(asked) == 1


def answers(server: Server, number: int) -> list[str]:
    """The responses at /m to `count` clients, each with a connection of its own."""
    return together(number, lambda _: httpx.get(f"{server.url}/m", trust_env=False, timeout=30).text)


def test_a_worker_is_replaced_without_a_registry(name: str, tmp_path: Path) -> None:
    with running_registry(tmp_path / "registry") as registry:
        publish(registry, f"{name}:latest", says("one"))
        config = module("/m", f"oci:{registry.address}/{name}", 'pull_policy = "always"')
        with running(tmp_path, config, "--workers", "2", cache=tmp_path / "cache") as server:
            publish(registry, f"{name}:latest", says("two"))
            before = workers(server)
            os.kill(min(before), signal.SIGKILL)
            wait_until(lambda: len(workers(server) - before) == 1 and len(workers(server)) == 2)
            assert set(answers(server, 8)) == {"one"}
            registry.stop()
            before = workers(server)
            for worker in before:
                os.kill(worker, signal.SIGKILL)
            wait_until(lambda: len(workers(server) - before) == 2)
            assert set(answers(server, 8)) == {"one"}
            assert "Traceback" not in server.log
            assert "ERROR" not in server.log


# private registries


@pytest.mark.parametrize(
    ("how", "number"),
    [("key", "1"), ("option", "2"), ("variable", "1"), ("password_env", "1")],
)
def test_a_private_registry(
    private: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, number: str
) -> None:
    auth_file = tmp_path / "auth.json"
    auth_file.write_text(json.dumps({"auths": {private.address: {"auth": SECRETS[1]}}}))
    monkeypatch.setenv("THE_PASSWORD", PASSWORD)
    login = 'username = "user"\npassword_env = "THE_PASSWORD"\n' if how == "password_env" else ""
    if how == "variable":
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(auth_file))
    config = (
        ('auth_file = "auth.json"\n' if how == "key" else "")
        + module("/m", f"oci:{private.address}/team/hello:1")
        + f'[registries."{private.address}"]\nca_file = "{private.ca_file}"\n{login}'
        + '[log]\nlevel = "debug"\n'
    )
    options = ["--auth-file", str(auth_file)] if how == "option" else []
    with running(tmp_path, config, "--workers", number, *options, cache=tmp_path / "cache") as server:
        assert server.get("/m").text == "for members"
        server.wait_for_log("GET /m")
        written = server.log + "".join(server.stdout)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert [secret for secret in SECRETS if secret in written or secret.encode() in kept] == []


def test_a_private_registry_without_a_login(private: Registry, tmp_path: Path) -> None:
    wrong = {"auths": {private.address: {"auth": "dXNlcjp3cm9uZw=="}}}
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    table = f'[registries."{private.address}"]\nca_file = "{private.ca_file}"\n'
    config = module("/m", f"oci:{private.address}/team/hello:1") + table
    problem = failed(tmp_path, config)
    for words in ("[[module]] 1 (/m)", "wants a login", f"docker login {private.address}", "looked in"):
        assert words in problem
    problem = failed(tmp_path, config, "--auth-file", "wrong.json")
    assert "does not accept the credentials" in problem
    assert "dXNlcjp3cm9uZw" not in problem


# without a registry


def five(registry: Registry, name: str) -> list[str]:
    """Five modules in a registry."""
    for number in range(5):
        publish(registry, f"{name}-{number}:1", says(str(number)))
    return [f"{registry.address}/{name}-{number}:1" for number in range(5)]


def pod(references: list[str]) -> str:
    """A manifest of containers at /0, /1 and so on that are always pulled."""
    routes = {f"c{number}": {"route": f"/{number}"} for number, _ in enumerate(references)}
    containers = [
        {"name": f"c{number}", "image": reference, "imagePullPolicy": "Always"}
        for number, reference in enumerate(references)
    ]
    annotations = {"alpha.wagi.krustlet.dev/modules": json.dumps(routes)}
    metadata = {"name": "five", "annotations": annotations}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}})


def seconds_to_start(directory: Path, config: Path) -> float:
    """Seconds from the start of a process to its ready line; checks the response, too."""
    begin = time.perf_counter()
    with running(directory, config, cache=directory / "cache") as server:
        ready = time.perf_counter() - begin
        assert [server.get(f"/{number}").text for number in range(5)] == list("01234")
    return ready


def seconds_to_import() -> float:
    """Seconds for the interpreter and all imports, nearly all of a start, which measure the load of the machine."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import wagi_gateway.cli.main, wagi_gateway.server.serve"], check=True)
    return time.perf_counter() - begin


def test_a_warm_start_without_a_registry(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A start takes a second, and little more than a start of the same site from files."""
    configs = {key: tmp_path / key for key in ("files.toml", "always.toml", "pod.yaml")}
    with running_registry(tmp_path / "registry") as registry:
        references = five(registry, name)
        for number in range(5):
            (tmp_path / f"{number}.wasm").write_bytes(binary(says(str(number))))
        files = [module(f"/{number}", f"{number}.wasm") for number in range(5)]
        configs["files.toml"].write_text("".join(files))
        always = 'pull_policy = "always"'
        tables = [module(f"/{number}", f"oci:{reference}", always) for number, reference in enumerate(references)]
        configs["always.toml"].write_text("".join(tables))
        configs["pod.yaml"].write_text(pod(references))
        seconds_to_start(tmp_path, configs["always.toml"])
    fastest = dict.fromkeys(("import", *configs), 60.0)
    for _ in range(5):
        fastest["import"] = min(fastest["import"], seconds_to_import())
        for key, config in configs.items():
            fastest[key] = min(fastest[key], seconds_to_start(tmp_path, config))
        # On a busy machine a start may take longer, but less than in proportion.
        allowed = START * max(1.0, fastest["import"] / IMPORT)
        if all(fastest[key] < min(allowed, fastest["files.toml"] + allowed / 4) for key in configs):
            break
    else:
        pytest.fail(f"allowed are {allowed:.2f} s: {fastest}")
    for key, seconds in fastest.items():
        record_property(key, round(seconds, 3))


def test_a_copy_is_used_with_a_warning(name: str, tmp_path: Path) -> None:
    with running_registry(tmp_path / "registry") as registry:
        publish(registry, f"{name}:latest", says("one"))
        config = module("/m", f"oci:{registry.address}/{name}", 'pull_policy = "always"')
        assert answer(tmp_path, config) == "one"
    with running(tmp_path, ADMIN + config, cache=tmp_path / "cache") as server:
        assert server.get("/m").text == "one"
        assert value(server, "wagi_module_pulls_total", outcome="stale") == 1
        assert value(server, "wagi_modules_stale") == 1
        lines = warnings(server.log)
    assert len(lines) == 1
    assert re.search(r"cannot be reached \(connection refused\); the copy in the store is used$", lines[0])


def test_the_cache_is_taken_along(name: str, tmp_path: Path) -> None:
    """The cache moves to a machine without a network; it contains no path of the first machine."""
    with running_registry(tmp_path / "registry") as registry:
        publish(registry, f"{name}:1", says("one"))
        (tmp_path / "modules.toml").write_text(module("/m", f"oci:{registry.address}/{name}:1"))
        run("pull", "modules.toml", "--cache-dir", "cache", cwd=tmp_path)
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "cache").rename(inside / "cache")
    (tmp_path / "modules.toml").rename(inside / "modules.toml")
    with running(inside, inside / "modules.toml", "--workers", "2", cache=inside / "cache") as server:
        assert answers(server, 4) == ["one"] * 4
        assert not warnings(server.log)


def test_a_cold_start_without_a_registry(name: str, tmp_path: Path) -> None:
    with running_registry(tmp_path / "registry") as registry:
        references = [f"{registry.address}/{name}-{number}:1" for number in range(3)]
    (tmp_path / "m.wat").write_text(guests.HELLO)
    files = module("/file", "m.wat") + module("/gone", "gone.wat")
    config = files + "".join(module(f"/{number}", f"oci:{reference}") for number, reference in enumerate(references))
    lines = failed(tmp_path, config).splitlines()
    assert len(lines) == 4
    assert "(/gone)" in lines[0]
    for number, reference in enumerate(references):
        assert f"[[module]] {number + 3} (/{number})" in lines[number + 1]
        assert reference in lines[number + 1]
        assert "cannot be reached: Connection refused" in lines[number + 1]


# what is refused


def test_a_cache_that_others_can_write(registry: Registry, name: str, tmp_path: Path) -> None:
    publish(registry, f"{name}:1", guests.HELLO)
    (tmp_path / "cache" / "registry").mkdir(parents=True)
    (tmp_path / "cache" / "registry").chmod(0o777)
    problem = failed(tmp_path, module("/m", f"oci:{registry.address}/{name}:1"))
    assert "modules from registries have no place" in problem
    assert "writable by others (mode 0777); choose a directory of your own, with mode 0700" in problem
    assert [path for path in (tmp_path / "cache" / "registry").rglob("*") if path.is_file()] == []


def test_a_module_that_is_too_large(registry: Registry, name: str, tmp_path: Path) -> None:
    publish(registry, f"{name}:1", says("x" * 5000))
    with FaultProxy(registry.address) as proxy:
        config = module("/m", f"oci:{proxy.address}/{name}:1") + '[cache]\nmax_module = "2KiB"\n'
        problem = failed(tmp_path, config)
        assert re.search(r"\d{4} bytes; 2048 are allowed", problem)
        assert proxy.downloads == []


VOLUMES = {
    ".": "holds this file,",
    "cache": "holds",
    "cache/registry": "lies in",
    "cache/registry/blobs": "lies in",
}


def test_a_guest_cannot_write_to_the_store(registry: Registry, name: str, tmp_path: Path) -> None:
    publish(registry, f"{name}:1", guests.HELLO)
    (tmp_path / "cache" / "registry" / "blobs").mkdir(parents=True, mode=0o755)
    config = "".join(
        module(f"/{number}", f"oci:{registry.address}/{name}:1", f'volumes = {{ "/data" = "{volume}" }}')
        for number, volume in enumerate(VOLUMES)
    )
    for text in (config, config + "[cache]\nenabled = false\n"):
        lines = failed(tmp_path, text).splitlines()
        for (volume, words), line in zip(VOLUMES.items(), lines, strict=True):
            assert f'volumes."/data" = "{volume}": it {words} the cache {tmp_path}/cache, ' in line


REFERENCES = ("127.0.0.1:1/UP:1", "x y", "127.0.0.1:1/x@sha256:12", "")


def test_what_is_no_reference(tmp_path: Path) -> None:
    lines = failed(
        tmp_path, "".join(module(f"/{number}", f"oci:{one}") for number, one in enumerate(REFERENCES))
    ).splitlines()
    for number, (reference, line) in enumerate(zip(REFERENCES, lines, strict=True)):
        assert f"[[module]] {number + 1} (/{number}): module: " in line
        assert repr(f"oci:{reference}") in line or "@" in reference  # it may require a password
        assert "for example ghcr.io/team/hello:1" in line
