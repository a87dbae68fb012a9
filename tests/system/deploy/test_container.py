"""The Containerfile, built on this machine's Python and run with a cluster's restrictions."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import INSTALLATION, READY, ROOT, START, wait_until, warnings
from tests.support import guests
from tests.support.config import guest
from tests.support.registry import installed
from tests.system.deploy import container
from tests.system.deploy.rootfs import write_rootfs

pytestmark = pytest.mark.timeout(INSTALLATION)  # the image contains its packages

CONTAINERFILE = ROOT / "deploy/container/Containerfile"
MODULES = guest("/hello/...", "hello")


@pytest.fixture(scope="module", autouse=True)
def root() -> None:
    """Fails in CI without root: these tests check guarantees of docs/security.md."""
    if os.geteuid() != 0:
        give_up = pytest.fail if "CI" in os.environ else pytest.skip
        give_up("only root can mount and change its root: sudo ./scripts/test tests/system/deploy/test_container.py")


@dataclass(frozen=True, slots=True)
class Image:
    """A built image."""

    root: Path
    """The root directory of the image's files."""
    config: dict[str, Any]
    """The image's configuration, as Docker shows it."""

    @property
    def command(self) -> list[str]:
        return [*self.config["Entrypoint"], *self.config["Cmd"]]

    @property
    def environment(self) -> dict[str, str]:
        return dict(variable.split("=", 1) for variable in self.config["Env"])


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of requirements.txt, checked by their hashes."""
    directory = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    what = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", str(ROOT / "requirements.txt")]
    subprocess.run([*pip, "download", "--dest", str(directory), *what], check=True)
    return directory


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Iterator[Image]:
    """The image, built without a network on a base that has Python and no shell."""
    directory = tmp_path_factory.mktemp("image")
    place = ["--root", f"{directory}/storage", "--runroot", f"{directory}/run", "--storage-driver", "vfs"]

    def buildah(*arguments: str | Path) -> str:
        command = [installed("buildah"), *place, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(directory)})
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    write_rootfs(directory / "base")
    (directory / "base/etc/pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    base = buildah("from", "scratch")
    buildah("copy", base, directory / "base", "/")
    buildah("config", "--env", "PATH=/usr/local/bin", base)
    buildah("commit", "--rm", base, "base")
    local = (
        "--isolation",
        "chroot",
        "--pull-never",
        "--build-arg",
        "BASE=localhost/base",
        "--volume",
        f"{wheels}:/wheels:ro",
    )
    buildah("build", *local, "--format", "docker", "--tag", "wagi-gateway", "--file", CONTAINERFILE, ROOT)
    described = json.loads(buildah("inspect", "--type", "image", "wagi-gateway"))
    mounted = buildah("mount", buildah("from", "--pull-never", "wagi-gateway"))
    try:
        yield Image(Path(mounted), described["Docker"]["config"])
    finally:
        buildah("umount", "--all")
        buildah("rm", "--all")
        buildah("rmi", "--all", "--force")


@dataclass(frozen=True, slots=True)
class Container:
    """A running container."""

    image: Image
    process: subprocess.Popen[str]
    output: list[str]

    @property
    def pid(self) -> int:
        """The gateway's own process."""
        (pid,) = _children(self.process)
        return pid

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in the container, like `docker exec`."""
        user_id, group_id = self.image.config["User"].split(":")
        enter = [installed("nsenter"), f"--target={self.pid}", "--mount", "--net", "--pid", "--ipc", "--root"]
        inside = [*enter, f"--setuid={user_id}", f"--setgid={group_id}", *command]
        return subprocess.run(inside, capture_output=True, text=True, env=self.image.environment)

    def python(self, program: str) -> str:
        """The output of a Python program in the container."""
        done = self.execute("/opt/wagi-gateway/bin/python", "-c", program)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def started(image: Image, folder: Path, command: list[str]) -> Iterator[Container]:
    """Starts the image on a read-only root, as its own user, without capabilities."""
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    runtime = [
        sys.executable,
        "-m",
        "tests.system.deploy.container",
        str(image.root),
        str(folder),
        image.config["User"],
    ]
    process = subprocess.Popen(
        [
            *(installed("unshare"), *container.NAMESPACES, "--fork"),
            *(*runtime, json.dumps(image.environment), *command),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    output: list[str] = []
    reader = threading.Thread(target=_read, args=(process, output))
    reader.start()

    def is_ready() -> bool:
        return process.poll() is not None or any(map(READY.search, output))

    try:
        wait_until(is_ready, START, lambda: "".join(output))
        assert process.poll() is None, "".join(output)
        yield Container(image, process, output)
    finally:
        for pid in _children(process):  # its end ends all processes of its PID namespace
            os.kill(pid, signal.SIGKILL)
        process.wait()
        reader.join()
        assert process.stdout
        process.stdout.close()


@pytest.fixture(scope="module")
def running(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """The image with one module."""
    folder = tmp_path_factory.mktemp("configuration")
    (folder / "modules.toml").write_text(MODULES)
    (folder / "hello.wat").write_text(guests.HELLO)
    with started(image, folder, image.command) as running:
        yield running


def _children(process: subprocess.Popen[str]) -> list[int]:
    """The child processes of a process."""
    try:
        text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    except FileNotFoundError:
        return []
    return [int(pid) for pid in text.split()]


def _read(process: subprocess.Popen[str], output: list[str]) -> None:
    assert process.stdout
    output.extend(iter(process.stdout.readline, ""))


def test_it_is_built_without_a_shell_in_it(image: Image) -> None:
    assert [path for name in ("sh", "bash", "dash", "busybox") for path in image.root.rglob(f"bin/{name}")] == []


def test_its_user_is_a_number_and_not_root(image: Image) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", image.config["User"])


def test_its_user_can_write_to_nothing_but_the_cache(image: Image) -> None:
    user_id, group_id = map(int, image.config["User"].split(":"))
    writable = {
        path.relative_to(image.root)
        for path in image.root.rglob("*")
        if not path.is_symlink()
        and ((s := path.stat()).st_mode & 0o002 or s.st_uid == user_id or (s.st_gid == group_id and s.st_mode & 0o020))
    }
    assert writable <= {Path("cache"), Path("tmp")}


def test_its_commands_name_programs_that_are_there(image: Image) -> None:
    health = image.config["Healthcheck"]["Test"]
    assert health[0] == "CMD"  # CMD-SHELL needs a shell
    for program in (image.command[0], health[1]):
        assert os.path.lexists(image.root / program.lstrip("/"))


def test_modules_are_served(running: Container) -> None:
    program = """
import http.client as h
connection = h.HTTPConnection("127.0.0.1", 3000)
for path in "/healthz", "/readyz", "/hello":
    connection.request("GET", path)
    response = connection.getresponse()
    print(response.status, response.read())
"""
    assert running.python(program).splitlines() == ["200 b'OK'", "200 b'OK'", "200 b'hello world\\n'"]


def test_it_is_healthy(running: Container) -> None:
    done = running.execute(*running.image.config["Healthcheck"]["Test"][1:])
    assert (done.returncode, done.stderr) == (0, "")


def test_its_root_is_read_only(running: Container) -> None:
    program = """
import os
for path in "/x", "/opt/x", "/etc/wagi-gateway/x":
    try:
        os.mkdir(path)
    except OSError as error:
        print(error.errno)
"""
    assert running.python(program).split() == [str(errno.EROFS)] * 3


def test_it_may_do_nothing_that_needs_a_privilege(running: Container) -> None:
    status = Path(f"/proc/{running.pid}/status").read_text()
    user_id = running.image.config["User"].partition(":")[0]
    assert re.search(rf"^Uid:\t{user_id}\t{user_id}\t{user_id}\t{user_id}$", status, re.MULTILINE)
    assert set(re.findall(r"^Cap\w+:\t(\w+)$", status, re.MULTILINE)) == {"0" * 16}
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)


def test_modules_are_kept_in_the_volume(running: Container) -> None:
    program = """
import os
found = os.stat("/cache/modules")
print(oct(found.st_mode & 0o777), found.st_uid, any(name.endswith(".cwasm") for name in os.listdir("/cache/modules")))
"""
    assert running.python(program) == f"0o700 {running.image.config['User'].partition(':')[0]} True"


def test_it_warns_of_nothing(running: Container) -> None:
    assert not warnings("".join(running.output))
    assert [line for line in running.output if "ERROR" in line] == []


def test_sigterm_ends_it_in_order(running: Container) -> None:
    os.kill(running.pid, signal.SIGTERM)
    assert running.process.wait(START) == 0


def test_it_runs_as_in_kubernetes(image: Image, tmp_path: Path) -> None:
    """The base's ConfigMap, and the arguments, probes and ServiceMonitor of its Deployment."""
    base = ROOT / "deploy/kubernetes/base"
    for name in ("modules.toml", "hello.wat"):
        shutil.copy(base / name, tmp_path / name)
    deployment = yaml.safe_load((base / "deployment.yaml").read_text())
    (described,) = deployment["spec"]["template"]["spec"]["containers"]
    (endpoint,) = yaml.safe_load((base / "../components/prometheus/servicemonitor.yaml").read_text())["spec"][
        "endpoints"
    ]
    ports = {port["name"]: port["containerPort"] for port in described["ports"]}
    gets = [described[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")]
    asked = [(ports[get["port"]], get["path"]) for get in (*gets, endpoint, {"port": "http", "path": "/hello"})]
    program = f"""
import http.client as h
for port, path in {asked}:
    connection = h.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path)
    print(connection.getresponse().status)
"""
    with started(image, tmp_path, [*image.config["Entrypoint"], *described["args"]]) as running:
        assert running.python(program).split() == ["200"] * len(asked)
        os.kill(running.pid, signal.SIGTERM)
        assert running.process.wait(START) == 0
