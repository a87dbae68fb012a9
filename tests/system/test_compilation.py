"""Modules that compile slowly or in much memory: a start, a reload, a stop, and the commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.conftest import Serve, Server, running, wait_until
from tests.support import guests
from tests.support.admin import admin
from tests.support.config import config, guest
from tests.support.processes import workers as worker_processes
from tests.support.reloading import hang_up, reload, write
from tests.support.slow_modules import ENDLESS, compilers, is_running, loops

HELLO = guest("/hello", "hello")
SLOW = guest("/slow", "slow")
COMPILING = r"compiling slow.wat \(8.\d KiB\) for"
REFUSAL = 'module = "slow.wat": is not compiled within compiler.time = 0.5s; raise it, or build smaller functions'


def command(directory: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "wagi_gateway", *arguments, "--cache-dir", str(directory / "cache")]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with an endless module and its configuration."""
    (tmp_path / "slow.wat").write_text(ENDLESS)
    (tmp_path / "modules.toml").write_text(config(SLOW))
    (tmp_path / "settings.toml").write_text('[compiler]\ntime = "500ms"\n')
    return tmp_path


@pytest.mark.parametrize("name", ["serve", "check", "routes", "run"])
def test_every_command_refuses_an_endless_module(directory: Path, name: str) -> None:
    target = "slow.wat" if name == "run" else "modules.toml"
    (directory / "modules.toml").write_text(config(SLOW, compiler={"time": "500ms"}))
    options = ["--settings", str(directory / "settings.toml")] if name == "run" else []
    arguments = command(directory, name, str(directory / target), *options)
    env = os.environ | {"COLUMNS": "400"}
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert done.returncode == {"serve": 3, "run": 3, "check": 1, "routes": 1}[name]
    assert "is not compiled within compiler.time = 0.5s; raise it" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_reload_refuses_modules_beyond_the_bounds(serve: Serve) -> None:
    server = serve(HELLO, hello=guests.HELLO, slow=ENDLESS)
    reload(server, config(HELLO, SLOW, compiler={"time": "500ms"}))
    server.wait_for_log(REFUSAL)
    reload(server, config(HELLO, SLOW, compiler={"memory": "64MiB"}))
    server.wait_for_log(r'"slow.wat": needs more than compiler.memory = 64MiB to compile')
    assert server.get("/hello").text == "hello world\n"
    reload(server, HELLO)
    server.wait_for_log("reloaded: 1 route ")
    assert compilers(server.process.pid) == []


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGKILL])
def test_a_compiler_that_crashes_is_a_problem_of_its_module(serve: Serve, number: signal.Signals) -> None:
    server = serve(HELLO, hello=guests.HELLO, slow=ENDLESS)
    start_slow_reload(server)
    os.kill(compilers(server.process.pid)[1], number)
    server.wait_for_log(rf'module = "slow.wat": does not compile: .* {number.name}')
    assert server.get("/hello").text == "hello world\n"


def start_slow_reload(server: Server) -> list[int]:
    """Begins a reload with an endless module; returns the processes that compile."""
    write(server, "modules.toml", config(HELLO, SLOW))
    hang_up(server)
    return wait_for_compilers(server.process.pid)


def wait_for_compilers(pid: int) -> list[int]:
    """The fork server and its child, once they run."""
    wait_until(lambda: len(compilers(pid)) == 2)
    return compilers(pid)


def post_reload(server: Server) -> int:
    """The number of routes after a reload through the admin listener."""
    answer = httpx.post(f"{admin(server)}/reload", trust_env=False, timeout=60).json()
    assert answer["ok"], answer
    return int(answer["routes"])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_later_reload_overtakes(serve: Serve, workers: str) -> None:
    server = serve(HELLO, "--workers", workers, hello=guests.HELLO, slow=ENDLESS)
    pids = start_slow_reload(server)
    server.wait_for_log(f"INFO +{COMPILING} 5 s")
    write(server, "hello.wat", guests.says(guests.CONTENT_TYPE + b"hello again\n"))
    reload(server, HELLO)
    server.wait_for_log(f"reload: a later one overtakes it: {COMPILING}")
    assert server.get("/hello").text == "hello again\n"
    assert not any(map(is_running, pids))
    assert "ERROR" not in server.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_changed_file_overtakes(serve: Serve, workers: str) -> None:
    server = serve(HELLO, "--workers", workers, "--reload", hello=guests.HELLO)
    write(server, "slow.wat", ENDLESS)
    write(server, "modules.toml", config(HELLO, SLOW))
    pids = wait_for_compilers(server.process.pid)
    write(server, "slow.wat", guests.says(guests.CONTENT_TYPE + b"not slow\n"))
    wait_until(lambda: server.get("/slow").text == "not slow\n")
    assert not any(map(is_running, pids))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_client_of_an_overtaken_reload_gets_the_later_outcome(serve: Serve, workers: str) -> None:
    server = serve(HELLO, "--workers", workers, "--admin", "127.0.0.1:0", hello=guests.HELLO, slow=ENDLESS)
    write(server, "modules.toml", config(HELLO, SLOW))
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(post_reload, server)
        wait_for_compilers(server.process.pid)
        write(server, "modules.toml", HELLO)
        assert post_reload(server) == first.result(60) == 1


def test_a_storm_of_signals_during_a_compilation(serve: Serve) -> None:
    server = serve(HELLO, hello=guests.HELLO, slow=loops(50, 50))
    write(server, "modules.toml", config(HELLO, SLOW, cache={"enabled": False}))
    for _ in range(100):
        hang_up(server)
    wait_until(lambda: server.get("/slow").status_code != 404)
    assert "Traceback" not in server.log
    wait_until(lambda: compilers(server.process.pid) == [])


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_end_of_a_server_ends_a_compilation(serve: Serve, workers: str, number: signal.Signals) -> None:
    server = serve(HELLO, "--workers", workers, hello=guests.HELLO, slow=ENDLESS)
    pids = start_slow_reload(server)
    server.process.send_signal(number)
    server.process.wait(15)
    wait_until(lambda: not any(map(is_running, pids)))
    assert "Traceback" not in server.log


@pytest.mark.parametrize("name", ["serve", "check", "run"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_end_of_a_command_ends_a_compilation(directory: Path, name: str, number: signal.Signals) -> None:
    target = "slow.wat" if name == "run" else "modules.toml"
    arguments = command(directory, name, str(directory / target))
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr
        pids = wait_for_compilers(process.pid)
        if name == "check":
            assert b"compiling slow.wat" in process.stderr.readline()
        process.send_signal(number)
        process.wait(15)
        wait_until(lambda: not any(map(is_running, pids)))


def test_a_worker_that_compiles_ends_at_once(tmp_path: Path) -> None:
    """Without a cache each worker compiles. The supervisor would kill a worker 40 s after SIGTERM."""
    (tmp_path / "slow.wat").write_text(loops(80, 80))
    with running(tmp_path, config(SLOW, cache={"enabled": False}, server={"workers": 2})) as server:
        old = worker_processes(server)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: any(map(compilers, worker_processes(server) - old)))
        pids = compilers(server.process.pid)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(15)
        wait_until(lambda: not any(map(is_running, pids)))
        assert "Traceback" not in server.log


def test_processes_that_start_together_compile_once(tmp_path: Path) -> None:
    (tmp_path / "slow.wat").write_text(loops(100, 100))
    (tmp_path / "modules.toml").write_text(config(SLOW))
    arguments = command(tmp_path, "check", str(tmp_path / "modules.toml"))
    processes = [subprocess.Popen(arguments, stdout=subprocess.DEVNULL) for _ in range(3)]
    seen: set[int] = set()

    def have_ended() -> bool:
        for process in processes:
            seen.update(compilers(process.pid)[:1])
        return all(process.poll() is not None for process in processes)

    wait_until(have_ended, 60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(seen) == 1
    assert len(list((tmp_path / "cache").glob("*.cwasm"))) == 1
