"""The server with standard streams that are closed or full, with other encodings, and without HOME."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.conftest import START, wait_until
from tests.support import guests
from tests.support.config import guest
from tests.support.measurement import UNMEASURED


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("redirection", "environment"),
    [
        ("<&-", {}),
        (">&-", {}),
        ("2>&-", {}),
        ("<&- >&- 2>&-", {}),
        (">/dev/full", {}),
        ("2>/dev/full", {}),
        (">/dev/full 2>/dev/full --log-format json", {}),
        ("", {"PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C"}),
        ("", {"PYTHONIOENCODING": "utf-16", "LANG": "xx_YY"}),
        ("--log-format json", {"PYTHONIOENCODING": "ascii:strict"}),
    ],
    ids=str,
)
def test_standard_streams(
    tmp_path: Path, cache: Path, redirection: str, environment: dict[str, str], workers: int
) -> None:
    (tmp_path / "hello.wat").write_text(guests.HELLO)
    (tmp_path / "modules.toml").write_text(guest("/hellö", "hello"))
    command = [sys.executable, "-m", "wagi_gateway", "serve", "modules.toml", "--uds", "s", "--cache-dir", str(cache)]
    shell = f"exec {shlex.join([*command, '--workers', str(workers)])} {redirection}"
    variables = {name: value for name, value in os.environ.items() if name != "HOME"} | environment
    if workers > 1:  # the first process runs the code that is measured
        variables |= UNMEASURED
    with subprocess.Popen(["sh", "-c", shell], cwd=tmp_path, env=variables, stdin=subprocess.DEVNULL) as process:
        try:
            wait_until((tmp_path / "s").exists, START, lambda: f"the server ended with {process.poll()}")
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "s")), timeout=START) as client:
                answer = client.get("http://localhost/hell%C3%B6")
            assert (answer.status_code, answer.text) == (200, "hello world\n")
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(START) == 0
