"""The memory of the deployments fits into their limits in the worst case."""

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
"""The memory of a worker without its guests, as in the pages."""
SYSTEMD, CONTAINERS = ((ROOT / "docs" / name).read_text() for name in ("systemd.md", "containers.md"))
SERVICE = (ROOT / "deploy/systemd/wagi-gateway.service").read_text()


def configuration(text: str) -> Config:
    file = config_from_tables(Path("modules.toml"), tomllib.loads(text))
    assert file.problems == ()
    return file.config


def worst(config: Config) -> int:
    """The worst case in bytes; /tmp is in memory."""
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
    # The page's numbers for the worst case and for the defaults.
    sum_ = (
        f"300 MiB, {config.server.concurrency} . {config.limits.memory >> 20} MiB and {config.server.spool >> 20} MiB"
    )
    assert re.search(sum_, " ".join(page.split()))
    assert worst(configuration(module("/", "a.wasm"))) > int(bound[1]) * GIB
