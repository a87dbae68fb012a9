"""What the first commands of a page start uses no more memory at the worst than it is given."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.config import module
from wagi_gateway.config.file import config_from_tables
from wagi_gateway.config.settings import Config

GIB = 2**30
WORKER = 300 * 2**20
"""What a worker needs beside its guests, as the pages say."""
SYSTEMD, CONTAINERS = ((ROOT / "docs" / name).read_text() for name in ("systemd.md", "containers.md"))
SERVICE = (ROOT / "deploy/systemd/wagi-gateway.service").read_text()


def configuration(text: str) -> Config:
    file = config_from_tables(Path("modules.toml"), tomllib.loads(text))
    assert file.problems == ()
    return file.config


def worst(config: Config) -> int:
    """Bytes; /tmp is in memory."""
    server = config.server
    memory = max(module.limits.memory for module in config.module)
    return server.workers * (WORKER + server.concurrency * memory + server.spool)


@pytest.mark.parametrize(
    ("page", "bound"),
    [
        (SYSTEMD, re.search(r"^MemoryMax=(\d+)G$", SERVICE, re.M)),
        (CONTAINERS, re.search(r" --memory (\d+)g ", CONTAINERS)),
    ],
    ids=["systemd", "container"],
)
def test_the_worst_case_fits(page: str, bound: re.Match[str] | None) -> None:
    (text,) = re.findall(r"modules\.toml <<'END'\n(.*?)^END$", page, re.DOTALL | re.MULTILINE)
    config = configuration(text)
    assert bound
    assert worst(config) <= int(bound[1]) * GIB
    # What the page says of it, and of the defaults.
    sum_ = (
        f"300 MiB, {config.server.concurrency} . {config.limits.memory >> 20} MiB and {config.server.spool >> 20} MiB"
    )
    assert re.search(sum_, " ".join(page.split()))
    assert worst(configuration(module("/", "a.wasm"))) > int(bound[1]) * GIB
