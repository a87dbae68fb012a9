"""The log of a process: its format from the first line to the last, its levels, and its configuration."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support import guests
from tests.support.access import access
from tests.support.config import guest
from wagi_gateway.config.settings import LogConfig
from wagi_gateway.observe import log
from wagi_gateway.observe.access_log import log_access
from wagi_gateway.observe.guest_log import GuestLog
from wagi_gateway.version import __version__


def test_the_fields_that_no_line_has_are_disabled_in_a_configured_process_alone() -> None:
    code = (
        "import logging; from wagi_gateway.config.settings import LogConfig; from wagi_gateway.observe import log\n"
        "before = logging._srcfile; log.configure(LogConfig()); print(before is not None, logging._srcfile)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "True None\n"


REQUEST_LINE = b"GET /a%20b?token=x HTTP/1.1\r\nHost: h.example:8\r\nUser-Agent: " + b"u\xff" * 900 + b"\r\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_json_log_is_json_from_its_first_line_to_its_last(serve: Serve, workers: int) -> None:
    config = f'[log]\nformat = "json"\n[server]\nworkers = {workers}\n' + guest("/hello", "hello")
    server = serve(config, hello=guests.HELLO)
    server.exchange(REQUEST_LINE + b"Connection: close\r\n\r\n")
    server.exchange(b"GET http://user:s3cr3t@h/b HTTP/1.0\r\nConnection: close\r\n\r\n")
    server.exchange(b"GET / HTTP/1.0\r\n\r\n")
    server.wait_for_log('"GET /"')
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_log("reloaded: ")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    records = [json.loads(line) for line in server.log_path.read_text().splitlines()]
    assert server.stdout == []
    messages = [record["message"] for record in records]
    assert messages[0] == "the server starts"
    assert (records[0]["version"], records[0]["workers"]) == (__version__, workers)
    assert records[0]["config"].endswith("modules.toml")
    assert messages[1].endswith("/hello -> hello.wat (_start)")
    assert messages[2].startswith("Ready: serving on http://127.0.0.1:")
    assert messages[-2].startswith("the server stops")
    assert messages[-1] == "the server has ended"
    full, named, bare = [record for record in records if record["logger"] == "wagi_gateway.access"]
    assert (named["host"], named["reason"]) == ("@h", "the Host header b'@h' is not a host")
    assert "s3cr3t" not in server.log_path.read_text()
    assert {key: full[key] for key in ("method", "path", "host", "status")} == {
        "method": "GET",
        "path": "/a%20b",
        "host": "h.example:8",
        "status": 404,
    }
    assert full["user_agent"] == "u\xff" * 512
    assert full["message"] == "GET /a%20b?token=x"
    assert not {"host", "user_agent"} & bare.keys()


def test_what_keeps_a_json_server_from_its_start_is_json(tmp_path: Path) -> None:
    (tmp_path / "modules.toml").write_text('[[module]]\nroute = "/x"\nmodule = "none.wasm"\n')
    command = [sys.executable, "-m", "wagi_gateway", "serve", str(tmp_path / "modules.toml"), "--log-format", "json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (3, "")
    records = [json.loads(line) for line in result.stderr.splitlines()]
    assert [record["level"] for record in records] == ["info", "error"]
    assert "none.wasm" in records[-1]["message"]


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
@pytest.mark.parametrize("log_format", ["auto", "text", "json", "terminal"])
def test_each_level_keeps_what_guests_say(capsys: pytest.CaptureFixture[str], level: str, log_format: str) -> None:
    log.configure(LogConfig.model_validate({"level": level, "format": log_format}))
    guest_log = GuestLog("/x", "r1")
    guest_log.feed(b"config missing\n")
    guest_log.close()
    log.logger.info("about the server")
    for handler in log.logger.handlers:
        handler.close()  # the terminal's holds lines of a request
    written = capsys.readouterr().err
    assert "config missing" in written
    assert ("about the server" in written) == (level in ("debug", "info"))


@pytest.mark.usefixtures("restored")
def test_a_reload_that_changes_the_format_writes_the_lines_before_it_first(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        log.configure(LogConfig(format="text"))
        log_access(access(request_id="r1"))
        log.configure(LogConfig(format="json"))
        log_access(access(request_id="r2"))

    asyncio.run(main())
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(" id=r1")
    assert json.loads(second)["id"] == "r2"


def test_a_line_about_the_start_has_no_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    log.announce("http://127.0.0.1:3000/a -> a\x1b[31m.wasm")
    assert capsys.readouterr().out == "http://127.0.0.1:3000/a -> a\\x1b[31m.wasm\n"
