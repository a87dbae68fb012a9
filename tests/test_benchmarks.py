"""The benchmarks run; what they measure is not judged here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_invocation() -> None:
    arguments = ["--rounds", "1", "--seconds", "1", "--invocations", "20"]
    command = [sys.executable, "-m", "benchmarks.invocation", *arguments]
    result = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(re.findall(r"^(?:sandbox|HTTP).*(?:\s+[\d.,]+){3}$", result.stdout, re.MULTILINE)) == 5


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_outbound() -> None:
    arguments = ["--turns", "1", "--requests", "50", "--seconds", "1", "--target", "10"]
    command = [sys.executable, "-m", "benchmarks.outbound", *arguments]
    result = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(re.findall(r"^.*, (?:µs|requests/s)(?:\s+[\d.,]+){3}$", result.stdout, re.MULTILINE)) == 8
    assert len(re.findall(r"^.* / httpx(?:\s+[\d.,]+){3}$", result.stdout, re.MULTILINE)) == 2
