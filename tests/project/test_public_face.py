"""The public names of `wagi_gateway`: their modules, their description in docs/operations.md, and its example."""

from __future__ import annotations

import asyncio
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ByteSize

import wagi_gateway
from tests.conftest import ROOT, wait_until
from tests.support import guests
from tests.support.config import config, guest
from wagi_gateway import StartupError, create_app, read_config
from wagi_gateway.app import Application

_SECTION = (ROOT / "docs" / "operations.md").read_text().partition("## Under another ASGI server\n")[2]
_EXAMPLE = _SECTION.partition("```python\n")[2].partition("```")[0]
_COMMAND = re.findall(r"`(uvicorn main:app[^`]*)`", _SECTION)[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A `modules.toml`, its module and the example, side by side."""
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text(config(guest("/hello", "hello"), cache={"directory": "cache"}))
    (tmp_path / "main.py").write_text(_EXAMPLE)
    return tmp_path


def test_the_names_are_sorted_and_exist() -> None:
    assert wagi_gateway.__all__ == sorted(wagi_gateway.__all__)
    assert set(wagi_gateway.__all__) <= set(dir(wagi_gateway))
    assert all(hasattr(wagi_gateway, name) for name in wagi_gateway.__all__)
    with pytest.raises(AttributeError, match="'wagi_gateway' has no attribute 'create'"):
        wagi_gateway.create  # noqa: B018


def test_the_names_are_those_of_their_modules() -> None:
    from wagi_gateway.app import create_app as from_app

    assert wagi_gateway.create_app is from_app


def test_every_name_is_described() -> None:
    assert sorted(re.findall(r"^\| `(\w+)", _SECTION, re.MULTILINE)) == wagi_gateway.__all__


def test_the_package_alone_imports_none_of_its_modules_but_the_version() -> None:
    program = "import sys, wagi_gateway; print([name for name in sys.modules if name.startswith('wagi_gateway.')])"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output == "['wagi_gateway.version']\n"


def test_a_configuration_is_read_with_overrides(folder: Path) -> None:
    file = read_config(folder / "modules.toml", {"limits": {"memory": "1MiB"}})
    assert (file.problems, file.config.module[0].limits.memory) == ((), ByteSize(2**20))
    assert create_app(file).site.config is file.config


def test_what_is_wrong_is_raised(folder: Path) -> None:
    (folder / "hello.wat").unlink()
    with pytest.raises(StartupError) as error:
        create_app(folder / "modules.toml")
    assert len(error.value.problems) == 1


def test_the_example_serves_plain_asgi_calls(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    app = runpy.run_path("main.py")["app"]
    assert asyncio.run(_lifespan_and_request(app)) == (
        ["lifespan.startup.complete", "lifespan.shutdown.complete"],
        200,
        b"hello world\n",
    )


async def _lifespan_and_request(app: Application) -> tuple[list[str], int, bytes]:
    """One GET in the lifespan, by the calls of the ASGI specification alone."""
    events, sent = asyncio.Queue[Any](), asyncio.Queue[Any]()
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    lifespan = asyncio.create_task(app(scope, events.get, sent.put))
    await events.put({"type": "lifespan.startup"})
    started = await sent.get()
    requests, answer = asyncio.Queue[Any](), asyncio.Queue[Any]()
    await requests.put({"type": "http.request", "body": b"", "more_body": False})
    await app(_scope("/hello"), requests.get, answer.put)
    await events.put({"type": "lifespan.shutdown"})
    await lifespan
    messages = [answer.get_nowait() for _ in range(answer.qsize())]
    body = b"".join(message.get("body", b"") for message in messages)
    return [started["type"], sent.get_nowait()["type"]], messages[0]["status"], body


def _scope(path: str) -> dict[str, Any]:
    """A scope without the optional keys of ASGI, except the raw path."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "2",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"www.example.com")],
        "client": None,
        "server": None,
    }


def test_the_example_serves_under_uvicorn(folder: Path) -> None:
    command = [sys.executable, "-m", *_COMMAND.split(), "--port", "0"]
    log_path = folder / "log"
    with log_path.open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stderr=log)
    try:
        wait_until(lambda: "running on" in log_path.read_text(), 20, log_path.read_text)
        match = re.search(r"http://[\d.]+:\d+", log_path.read_text())
        assert match
        assert httpx.get(f"{match[0]}/hello", trust_env=False).text == "hello world\n"
    finally:
        process.terminate()
        process.wait(20)
