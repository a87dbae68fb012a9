"""The gateway under test and its environment: nginx, a registry, a service for outbound calls."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.conftest import ROOT, Server, running, wait_until
from tests.support import guests
from tests.support.config import guest, module
from tests.support.farm import Target
from tests.support.mounts import with_mounts
from tests.support.publishing import publish
from tests.support.registry import Registry, installed, running_registry
from tests.system.deploy.front import Front, front

T = TypeVar("T")

TIMEOUT = 20.0
"""The timeout of a request in seconds."""
DISK = 24 * 2**20
"""Bytes of the disk for the cache and of the disk for temporary files."""
IDLE_PIPES = 64
"""Idle pairs of pipes that a process keeps."""
LARGE = bytes(range(256)) * 1200
"""A static file."""
STREAMED = b"first " * 2000, b"to the end\n"
_SETTINGS = """
[server]
head_time = "2s"
send_timeout = "2s"
shutdown_grace = "5s"
trusted_proxies = ["127.0.0.1"]
[limits]
time = "1s"
memory = "32MiB"
stdout = "16MiB"
stderr = "64KiB"
body = "8MiB"
body_time = "1s"
[log]
access = false
[admin]
listen = "127.0.0.1:0"
[[static]]
route = "/files/..."
directory = "files"
"""
_BOMB = guests.says(
    b"",
    then="""(loop $grow
      (memory.fill (i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536)) (i32.const 1) (i32.const 65536))
      (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable""",
)
_GUESTS = {
    "hello": guests.HELLO,
    "pieces": guests.sleeps(20_000_000, guests.CONTENT_TYPE + STREAMED[0], STREAMED[1]),
    "loop": guests.LOOP,
    "sleep": guests.SLEEP,
    "bomb": _BOMB,
    "trap": guests.TRAP,
    "overflow": guests.STACK_OVERFLOW,
    "stdout": guests.ENDLESS_STDOUT,
    "stderr": guests.ENDLESS_STDERR,
    "nap": guests.sleeps(100_000_000, b"", guests.CONTENT_TYPE),
    "crowd": guests.HELLO,
}
_GOOD: dict[str, object] = {"time": f"{TIMEOUT:.0f}s", "queue": 1000, "queue_time": f"{TIMEOUT:.0f}s"}
"""Limits of the modules that must respond during every fault."""


@dataclass(slots=True)
class City:
    """All running processes."""

    gateway: Server
    front: Front
    registry: Registry
    target: Target
    directory: Path
    """The directory of the city's files."""
    workers: int
    stack: contextlib.ExitStack
    """The contexts that end with the city."""
    clock: Path | None
    """The file with the offset of the gateway's wall clock, if the clock can be set."""
    version: int = 0
    """The response of `/changing`; every reload that compiles changes it."""

    @property
    def secure(self) -> str:
        """The URL of nginx with TLS."""
        assert self.front.secure
        return "https://{}:{}".format(*self.front.secure)

    @property
    def admin(self) -> str:
        """The URL of the admin listener."""
        line = next(line for line in self.gateway.stdout if line.startswith("Admin: "))
        return line.removeprefix("Admin: serving on ")

    def keep(self, context: contextlib.AbstractContextManager[T]) -> T:
        """Registers a context that ends with the city."""
        return self.stack.enter_context(context)

    def processes(self) -> list[int]:
        """The ids of the gateway's processes, the first one first."""
        found = [self.gateway.process.pid]
        for pid in found:
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += map(int, (task / "children").read_text().split())
        return found

    def serving(self) -> list[int]:
        """The process ids of the workers."""
        return [pid for pid in self.processes() if self.workers == 1 or b"spawn_main" in _command(pid)]

    def seen(self, name: str) -> Path:
        """The path of the `cache` or `spool` directory in the gateway's mount namespace."""
        return Path(f"/proc/{self.gateway.process.pid}/root{self.directory / 'disks' / name}")

    def remount(self, name: str, options: str) -> None:
        """Remounts the `cache` or `spool` directory with other options."""
        enter = [installed("nsenter"), f"--target={self.gateway.process.pid}", "--mount"]
        if os.geteuid() != 0:
            enter += ["--user", "--preserve-credentials"]
        subprocess.run(
            [*enter, "mount", "-o", f"remount,bind,{options}", str(self.directory / "disks" / name)], check=True
        )

    def write(self, config: str) -> None:
        """Replaces the configuration atomically, as a deployment does."""
        path = self.directory / "modules.toml"
        path.with_suffix(".new").write_text(config)
        path.with_suffix(".new").replace(path)

    def config(self) -> str:
        """The valid configuration."""
        return (self.directory / "modules.right").read_text()

    def change(self) -> bytes:
        """Gives `/changing` a module that was never compiled; returns the module's response."""
        self.version += 1
        answer = b"version %d\n" % self.version
        path = self.directory / "changing.wat"
        path.with_suffix(".new").write_text(guests.says(guests.CONTENT_TYPE + answer))
        path.with_suffix(".new").replace(path)
        return answer

    def hang_up(self) -> None:
        """Sends SIGHUP to the gateway."""
        self.gateway.process.send_signal(signal.SIGHUP)

    def reload(self, outcome: str = "reloaded: ") -> str:
        """Sends SIGHUP and waits for the reload; returns the log lines meanwhile."""
        before = len(self.gateway.log)
        self.hang_up()
        wait_until(lambda: outcome in self.gateway.log[before:], 60, lambda: self.gateway.log[before:])
        return self.gateway.log[before:]

    def renewed(self) -> str:
        """Changes a module, reloads, and checks the new response; returns the log lines meanwhile."""
        answer = self.change()
        log = self.reload()
        for _ in range(2 * self.workers):
            assert self.gateway.get("/changing").content == answer
        return log


@contextlib.contextmanager
def city(directory: Path, workers: int = 1, *, has_clock: bool = False) -> Iterator[City]:
    """Runs a city; with `has_clock` the gateway's wall clock can be set."""
    for program, package in (("curl", "curl"), ("wrk", "wrk"), ("h2load", "nghttp2-client")):
        installed(program, package)
    for name in ("files", "disks/cache", "disks/spool"):
        (directory / name).mkdir(parents=True)
    (directory / "files" / "large").write_bytes(LARGE)
    for name, wat in _GUESTS.items():
        (directory / f"{name}.wat").write_text(wat)
    (directory / "changing.wat").write_text(guests.says(guests.CONTENT_TYPE + b"version 0\n"))
    environment = {"TMPDIR": str(directory / "disks" / "spool")}
    clock = directory / "clock" if has_clock else None
    if clock:
        clock.write_text("+0\n")
        environment |= _moved_by(clock)
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(Target())
        registry = stack.enter_context(running_registry(directory / "registry"))
        publish(registry, "team/hello:1", guests.HELLO)
        config = _config(target, registry)
        (directory / "modules.right").write_text(config)
        (directory / "modules.toml").write_text(config)
        options = ("--workers", str(workers), "--cache-dir", str(directory / "disks" / "cache" / "modules"))
        gateway = stack.enter_context(
            running(directory, directory / "modules.toml", *options, environment=environment, prefix=_disks(directory))
        )
        nginx = stack.enter_context(front("wagi-gateway-tls.conf", directory / "nginx", "%s:%d" % gateway.address))  # noqa: UP031
        yield City(gateway, nginx, registry, target, directory, workers, stack, clock)


def _config(target: Target, registry: Registry) -> str:
    config = _SETTINGS
    config += guest("/hello", "hello", **_GOOD)
    config += guest("/pieces", "pieces", **_GOOD)
    config += guest("/changing", "changing", **_GOOD)
    config += guest("/crowd", "crowd", **_GOOD | {"queue": 4000, "concurrency": 32})
    fetch = f'allowed_hosts = ["{target.url}"]\nenvironment = {{ URL = "{target.url}/hello" }}\n'
    for route, name, more in (
        ("/echo", str(ROOT / "samples/c/echo.wasm"), ""),
        ("/fetch", str(ROOT / "samples/assemblyscript/fetch.wasm"), fetch),
        ("/pulled", f"oci:{registry.address}/team/hello:1", 'pull_policy = "always"\n'),
    ):
        config += module(route, name, more, limits=_GOOD)
    for name in ("loop", "sleep", "stderr"):
        config += guest(f"/{name}", name, concurrency=8)
    for name in ("bomb", "trap", "overflow"):
        config += guest(f"/{name}", name, concurrency=8, time="10s")
    config += guest("/stdout", "stdout", concurrency=8, time="5s")
    config += guest("/pour", "stdout", concurrency=16, time="5s", stdout="1GiB")
    config += guest("/nap", "nap", time="5s", concurrency=IDLE_PIPES)
    return config


def _moved_by(clock: Path) -> dict[str, str]:
    """The environment of libfaketime, which changes the wall clock only."""
    found = sorted(Path("/usr").glob("lib*/**/faketime/libfaketimeMT.so.1"))
    assert found, "libfaketime is not installed: install the Debian package faketime"
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def _disks(directory: Path) -> list[str]:
    """A prefix for a command, which then has two small disks for the cache and the temporary files."""
    mounts = " && ".join(f'mount -t tmpfs -o size={DISK},mode=0700 tmpfs "$0/{name}"' for name in ("cache", "spool"))
    return with_mounts(mounts, directory / "disks")


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
