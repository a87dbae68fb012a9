"""A worker on a thread of the tests."""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from tests.conftest import wait_until
from tests.support import guests
from wagi_gateway.app import create_app
from wagi_gateway.config.file import ConfigFile
from wagi_gateway.config.settings import CacheConfig, Config, ModuleConfig, ServerConfig
from wagi_gateway.server.uvicorn_config import worker_config
from wagi_gateway.server.worker import Worker


def config_file(directory: Path, module: str = "hello.wat", **server: object) -> ConfigFile:
    modules = (ModuleConfig(route="/hello", module=module),)
    settings = ServerConfig.model_validate(server)
    return ConfigFile(
        directory / "modules.toml", Config(module=modules, cache=CacheConfig(enabled=False), server=settings)
    )


@contextmanager
def serving(file: ConfigFile, events: list[str]) -> Iterator[Worker]:
    """A worker that serves until the end of the `with`."""
    thresholds = gc.get_threshold()
    app = create_app(file)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker = Worker(
            worker_config(file.config.server),
            lambda: app,
            on_ready=events.append,
            on_stop=lambda: events.append("stop"),
        )
        thread = threading.Thread(target=worker.run, args=([listener],))
        thread.start()
        try:
            wait_until(lambda: bool(events))
            yield worker
        finally:
            worker.should_exit = True
            thread.join()
            gc.unfreeze()
            gc.set_threshold(*thresholds)


def test_a_worker_serves_and_reloads(tmp_path: Path) -> None:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    events: list[str] = []
    with serving(config_file(tmp_path), events) as worker:
        (url,) = events
        assert httpx.get(f"{url}/hello", trust_env=False).text == "hello world\n"
        (problem,) = worker.serve_config(config_file(tmp_path, "missing.wasm"))
        assert "missing.wasm" in str(problem)
        assert httpx.get(f"{url}/hello", trust_env=False).status_code == 200
        assert worker.serve_config(config_file(tmp_path, keep_alive="7s", max_connections=5)) == ()
        assert (worker.config.timeout_keep_alive, worker.config.max_connections) == (7, 5)
    assert events == [url, "stop"]


def test_before_it_serves_it_takes_no_configuration(tmp_path: Path) -> None:
    file = config_file(tmp_path)
    worker = Worker(worker_config(file.config.server), lambda: create_app(file))
    assert [str(problem) for problem in worker.serve_config(file)] == ["the worker does not serve yet"]
    worker.reload_soon()


def test_the_date_of_responses_changes_with_the_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = config_file(tmp_path)
    worker = Worker(worker_config(file.config.server), lambda: create_app(file))
    worker.config.encoded_headers = []
    seen = []
    for now in (1000.95, 1001.05, 1001.95, 1002.0):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        asyncio.run(worker.on_tick(7))
        seen.append(dict(worker.server_state.default_headers)[b"date"].decode())
    assert seen == [formatdate(second, usegmt=True) for second in (1000, 1001, 1001, 1002)]


HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [(256, 512, 512), (512, 512, 512), (256, HARD, 65536 if HARD == resource.RLIM_INFINITY else min(HARD, 65536))],
    ids=["to the hard limit", "at the hard limit", "here"],
)
def test_the_limit_on_descriptors_is_raised(soft: int, hard: int, expected: int) -> None:
    code = (
        "import resource, sys; from wagi_gateway.server.worker import raise_descriptor_limit;"
        " resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2]))); raise_descriptor_limit();"
        " print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    command = [sys.executable, "-c", code, str(soft), str(hard)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{expected}\n"
