"""A worker process and its pipe."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from uvicorn.config import STARTUP_FAILURE

from tests.support import guests
from wagi_gateway.config.file import ConfigFile
from wagi_gateway.config.settings import CacheConfig, Config, ModuleConfig
from wagi_gateway.server.uvicorn_config import worker_config
from wagi_gateway.server.worker_process import WorkerProcess


def create(directory: Path, module: str, listener: socket.socket) -> WorkerProcess:
    config = Config(module=(ModuleConfig(route="/a", module=module),), cache=CacheConfig(enabled=False))
    return WorkerProcess(worker_config(config.server), ConfigFile(directory / "modules.toml", config), listener)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_a_worker_that_dies_closes_its_pipe(tmp_path: Path, listener: socket.socket) -> None:
    worker = create(tmp_path, "missing.wasm", listener)
    worker.start()
    assert worker.pipe.poll(60)
    with pytest.raises(EOFError):
        worker.pipe.recv()
    worker.process.join()
    assert worker.exitcode == STARTUP_FAILURE
    assert worker.healthcheck(60) is None
    assert not worker.is_alive(60)
    assert not worker.send(ConfigFile(Path(), Config()))
    worker.kill()


def test_a_worker_answers_and_ends(tmp_path: Path, listener: socket.socket) -> None:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    worker = create(tmp_path, "hello.wat", listener)
    worker.start()
    while not (has_started := worker.healthcheck(60)):
        assert has_started is False, worker.exitcode
    with socket.create_connection(listener.getsockname()) as client:
        client.sendall(b"GET /a HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert worker.send(ConfigFile(tmp_path / "modules.toml", Config()))
    assert worker.pipe.poll(60)
    assert worker.pipe.recv() == ()
    worker.terminate()
    worker.process.join(60)
    assert worker.exitcode is not None
