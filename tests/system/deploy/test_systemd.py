"""The units: their restrictions are effective, and the gateway runs under them."""

from __future__ import annotations

import configparser
import ctypes
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, running, wait_until
from tests.support import guests
from tests.support.config import guest, module
from tests.support.registry import installed
from tests.system.deploy.seccomp import systemd_filter
from wagi_gateway.config.settings import ServerConfig

PAGE = (ROOT / "docs/systemd.md").read_text()
UNITS = ROOT / "deploy/systemd"
SERVICE, SOCKET = UNITS / "wagi-gateway.service", UNITS / "wagi-gateway.socket"
RELOAD = UNITS / "wagi-gateway.service.d/reload.conf"
"""For NOTIFY_RELOAD or later."""
NOTIFY_RELOAD = 253
"""The release of systemd that has `Type=notify-reload`."""
DROP_IN, FOR_NGINX = UNITS / "wagi-gateway.service.d/socket.conf", UNITS / "wagi-gateway.socket.d/nginx.conf"
FILES = sorted(path for path in UNITS.rglob("*") if path.is_file())
PROGRAM = "/opt/wagi-gateway/bin/wagi-gateway"
EXPOSURE = 1.5
"""Of 10; what is left is the network, and memory that becomes executable."""
_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN = 65, 1


def settings(unit: Path, section: str) -> dict[str, list[str]]:
    """Each setting with its values, in order."""
    found: dict[str, list[str]] = {}
    text = unit.read_text().partition(f"[{section}]\n")[2].partition("\n[")[0]
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def seconds(span: str) -> float:
    match = re.fullmatch(r"(\d+)(s|min)", span)
    assert match
    return int(match[1]) * (60 if match[2] == "min" else 1)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units that the installed systemd is for, with the path of an existing program."""
    for unit in FILES:
        if unit == RELOAD and release() < NOTIFY_RELOAD:
            continue
        target = tmp_path / unit.relative_to(UNITS)
        target.parent.mkdir(exist_ok=True)
        target.write_text(unit.read_text().replace(PROGRAM, "/bin/true"))
    return tmp_path


def release() -> int:
    """The installed release of systemd."""
    match = re.match(r"systemd (\d+) ", analyze("--version"))
    assert match
    return int(match[1])


def analyze(*arguments: str | Path) -> str:
    """The output of systemd-analyze, which must report no problem."""
    command = [installed("systemd-analyze"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def test_systemd_understands_them(units: Path) -> None:
    analyze("verify", "--man=no", units / SERVICE.name, units / SOCKET.name)


def test_the_service_is_fenced_in(units: Path) -> None:
    report = analyze("security", "--offline=yes", f"--threshold={EXPOSURE * 10:.0f}", units / SERVICE.name)
    measured = re.search(r"Overall exposure level .*: ([\d.]+)", report)
    written = re.search(r"gives it ([\d.]+) of 10", PAGE)
    assert measured
    assert written
    assert abs(float(measured[1]) - float(written[1])) <= 0.2  # other releases of systemd have other weights


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("CacheDirectoryMode", "0700"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
        ("Restart", "on-failure"),
    ],
)
def test_what_else_the_fence_is_made_of(setting: str, value: str) -> None:
    assert settings(SERVICE, "Service")[setting] == [value]


def test_what_the_page_says_of_settings() -> None:
    written = set(re.findall(r"`([A-Z][a-z]\w+)=([^`\s]+)`", PAGE))
    assert dict(written).keys() >= {"DynamicUser", "MemoryMax", "SystemCallErrorNumber", "TimeoutStartSec", "Type"}
    given, for_reload = settings(SERVICE, "Service"), settings(RELOAD, "Service")
    assert [(name, value) for name, value in written if [value] not in (given.get(name), for_reload.get(name))] == []
    assert "`@system-service` without `@privileged` and `@resources`" in PAGE
    assert given["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    assert "**`MemoryDenyWriteExecute=` is off**" in PAGE
    assert "do not set `LimitAS=`" in PAGE
    assert given.keys().isdisjoint({"MemoryDenyWriteExecute", "LimitAS"})


def test_what_the_page_says_of_directories() -> None:
    given = settings(SERVICE, "Service")
    for parent, setting in (("/var/cache", "Cache"), ("/run", "Runtime"), ("/var/log", "Logs")):
        (name,) = given[f"{setting}Directory"]
        assert f"`{parent}/{name}`" in PAGE


def test_a_stop_takes_longer_than_requests_in_flight_may() -> None:
    assert seconds(settings(SERVICE, "Service")["TimeoutStopSec"][0]) >= ServerConfig().shutdown_grace + 10


def test_the_socket_unit_replaces_only_the_listener() -> None:
    commands = settings(DROP_IN, "Service")["ExecStart"]
    assert commands == ["", f"{settings(SERVICE, 'Service')['ExecStart'][0]} --listen fd:3"]
    assert settings(SOCKET, "Socket")["ListenStream"] == [ServerConfig().listen]


def test_nginx_connects_where_systemd_listens() -> None:
    socket_unit = settings(FOR_NGINX, "Socket")
    taken_away, path = socket_unit["ListenStream"]
    front = (ROOT / "deploy/nginx/conf.d/wagi-gateway-unix.conf").read_text()
    assert taken_away == ""
    assert f"    server unix:{path};\n" in front
    assert (socket_unit["SocketGroup"], socket_unit["SocketMode"]) == (["www-data"], ["0660"])
    # systemd removes the service's RuntimeDirectory with its content.
    assert not path.startswith(f"/run/{settings(SERVICE, 'Service')['RuntimeDirectory'][0]}/")


def test_every_unit_is_read_as_systemd_reads_it() -> None:
    for unit in FILES:
        configparser.ConfigParser(strict=False, interpolation=None, delimiters="=").read_string(unit.read_text())


@pytest.fixture
def system_calls() -> Callable[[], None]:
    return systemd_filter(settings(SERVICE, "Service")["SystemCallFilter"]).load


@pytest.mark.parametrize("workers", [1, 2])
def test_it_serves_with_the_system_calls_it_is_left(
    tmp_path: Path, cache: Path, system_calls: Callable[[], None], workers: int
) -> None:
    for name, text in (("hello", guests.HELLO), ("loop", guests.LOOP), ("trap", guests.TRAP)):
        (tmp_path / f"{name}.wat").write_text(text)
    config = guest("/hello", "hello") + guest("/trap", "trap") + guest("/loop", "loop", time="200ms")
    config += module("/echo", ROOT / "samples/c/echo.wasm")
    with running(tmp_path, config, "--workers", str(workers), cache=cache, preexec=system_calls) as server:
        statuses = [server.get(path).status_code for path in ("/hello", "/loop", "/trap", "/healthz")]
        body = b"a" * (3 << 20)  # too large for memory, so written to a file
        assert statuses == [200, 504, 500, 200]
        assert server.post("/echo", body).content == body
        assert "Operation not permitted" not in server.log


def test_the_filter_of_that_test_bites(system_calls: Callable[[], None]) -> None:
    program = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.mount(b"a", b"/", b"tmpfs", 0, None), ctypes.get_errno())
"""
    done = subprocess.run([sys.executable, "-c", program], preexec_fn=system_calls, capture_output=True, text=True)
    assert done.stdout.split() == ["-1", "1"]


def test_memory_cannot_be_denied_to_become_executable(tmp_path: Path, cache: Path) -> None:
    """With MemoryDenyWriteExecute= neither a compiled module nor one from the cache runs, so the unit leaves it off. If
    this test fails, wasmtime supports the setting, and the unit can use it."""
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    command = [sys.executable, "-m", "wagi_gateway", "run", str(tmp_path / "hello.wat"), "--cache-dir", str(cache)]
    assert subprocess.run(command, capture_output=True).returncode == 0
    libc = ctypes.CDLL(None, use_errno=True)

    def deny() -> None:
        if libc.prctl(_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "PR_SET_MDWE")

    try:
        done = subprocess.run(command, preexec_fn=deny, capture_output=True, text=True)
    except subprocess.SubprocessError:
        pytest.skip("this kernel is older than 6.3")
    assert done.returncode == 3
    assert "unable to make memory executable" in done.stderr


def test_the_gateway_starts_with_its_first_client(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "modules.toml").write_text(guest("/hello", "hello"))
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    words = settings(DROP_IN, "Service")["ExecStart"][1].split()
    words = [w.replace("/etc/wagi-gateway", str(tmp_path)).replace("${CACHE_DIRECTORY}", str(cache)) for w in words]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*taken.getsockname())
    activate = [installed("systemd-socket-activate"), f"--listen={address}", "-E", f"PYTHONPATH={ROOT}"]
    process = subprocess.Popen(
        [*activate, sys.executable, "-m", "wagi_gateway", *words[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def is_open() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", int(address.rpartition(":")[2]))) == 0

    try:
        wait_until(is_open)
        with httpx.Client(trust_env=False, timeout=30) as client:
            assert client.get(f"http://{address}/hello").text == "hello world\n"
    finally:
        process.terminate()
        output, log = process.communicate(timeout=40)
    assert process.returncode == 0, log
    assert "Ready: serving on http://" in output
