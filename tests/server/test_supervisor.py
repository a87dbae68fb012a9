"""The supervisor in process: real workers that start, reload and end."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.config import config, guest
from wagi_gateway.config.file import read_config
from wagi_gateway.errors import StartupError
from wagi_gateway.server.supervisor import Supervisor
from wagi_gateway.server.uvicorn_config import worker_config
from wagi_gateway.site.load import load

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Restores the signal handlers that a supervisor sets."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def supervisor(path: Path, events: list[str]) -> Iterator[Supervisor]:
    """A supervisor of one worker, which notes its callbacks."""
    file = read_config(path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Supervisor(
            worker_config(file.config.server),
            file,
            load(file),
            listener,
            read=lambda: read_config(path),
            on_ready=lambda url: events.append(url.partition(":")[0]),
            on_stop=lambda: events.append("stop"),
        )
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    path = tmp_path / "modules.toml"
    path.write_text(config(guest("/a", "hello"), cache={"enabled": False}, server={"shutdown_grace": "1s"}))
    return path


def test_a_signal_ends_it_and_fails_the_reloads_that_wait(path: Path) -> None:
    events: list[str] = []
    with supervisor(path, events) as made:
        waiting = made.reload_soon()
        signal.raise_signal(signal.SIGTERM)
        made.run()
        assert not made.has_failed
    assert str(waiting.exception(0)) == "the server is stopping"
    assert events[-1] == "stop"


def test_it_keeps_its_site_where_the_next_one_does_not_load(path: Path) -> None:
    events: list[str] = []
    results: list[object] = []
    with supervisor(path, events) as made:

        def control() -> None:
            results.append(made.reload())
            path.write_text("[")
            try:
                made.reload()
            except StartupError as error:
                results.append(error)
            finally:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

        thread = threading.Thread(target=control)
        thread.start()
        made.run()
        thread.join()
    assert events == ["http", "stop"]
    assert not isinstance(results[0], StartupError)
    assert isinstance(results[1], StartupError)
    assert "is not valid TOML" in str(results[1])
