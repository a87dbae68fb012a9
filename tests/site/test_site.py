"""A loaded site: its description for operators, its copy for workers, its immutability."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import cast

import pytest

from tests.support import guests
from wagi_gateway.config.file import read_config
from wagi_gateway.outbound.client import OutboundClient
from wagi_gateway.site.load import load
from wagi_gateway.site.site import Site

ROUTES = guests.says(b"/one one\n").replace('(export "_start")', '(export "_routes")').removesuffix(")")
CONFIG = """
[cache]
enabled = false
[log]
directory = "logs"
[[module]]
route = "/m/..."
module = "m.wat"
allowed_hosts = ["https://a.example", "*.b.example"]
volumes = { "/t" = { temporary = "scratch" } }
[[module]]
route = "/healthz"
module = "m.wat"
[[static]]
route = "/s/..."
directory = "published"
"""


@contextmanager
def loaded(directory: Path, previous: Site | None = None) -> Iterator[Site]:
    (directory / "m.wat").write_text(ROUTES + ' (func (export "_start")) (func (export "one")))')
    (directory / "published").mkdir(exist_ok=True)
    path = directory / "modules.toml"
    path.write_text(CONFIG)
    site = load(read_config(path), previous=previous)
    yield site
    site.close()


def test_it_is_immutable(tmp_path: Path) -> None:
    with loaded(tmp_path) as site, pytest.raises(FrozenInstanceError):
        site.warnings = []  # type: ignore[misc]


def test_what_operators_are_shown(tmp_path: Path) -> None:
    with loaded(tmp_path) as site:
        first, second = site.served().modules
        assert (first.route, first.routes) == ("/m/...", {"/m/...": "_start", "/m/one": "one"})
        assert (second.route, second.routes) == ("/healthz", {"/healthz": "_start", "/healthz/one": "one"})
        assert (first.source, first.digest) == ("m.wat", site.routes[0][1].module.digest)
        assert first.logs.keys() == first.routes.keys()
        assert all(log.startswith(str(tmp_path / "logs")) for log in first.logs.values())
        assert sum(site.served().loads.values()) == 1
        assert [warning for warning in site.served().warnings if "built in" in warning]


def test_what_guests_may_call(tmp_path: Path) -> None:
    with loaded(tmp_path) as site:
        (one, exact), (other, wildcard) = site.permissions()
        assert one == other == "/m/..."
        assert exact.startswith('"https://a.example": ')
        assert wildcard.startswith('"*.b.example": ')


def test_workers_share_temporary_directories(tmp_path: Path) -> None:
    with loaded(tmp_path) as site:
        pinned = site.pinned(read_config(tmp_path / "modules.toml"))
        assert pinned.config.module[0].volumes["/t"].path == site.volumes.temporary["scratch"].name
        assert pinned.config.module[1] == site.config.module[1]


def test_a_temporary_directory_lives_on_in_the_next_site(tmp_path: Path) -> None:
    with loaded(tmp_path) as before:
        scratch = Path(before.volumes.temporary["scratch"].name)
        with loaded(tmp_path, before) as site:
            site.take_over_from(before)
            before.close()
            assert scratch.is_dir()
            assert site.engine is before.engine
        assert not scratch.exists()


def test_it_may_be_closed_twice(tmp_path: Path) -> None:
    with loaded(tmp_path) as site:
        site.close()


class BrokenClient:
    """A client of outbound calls that cannot be closed."""

    def close(self) -> None:
        raise RuntimeError("no way")


def test_what_cannot_be_closed_does_not_keep_the_rest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with loaded(tmp_path) as site:
        (scratch,) = site.volumes.temporary.values()
        pattern, endpoint = site.routes[0]
        broken = replace(endpoint, outbound=cast(OutboundClient, BrokenClient()))
        replace(site, routes=[(pattern, broken), *site.routes[1:]]).close()
        assert not Path(scratch.name).exists()
    assert "no way" in caplog.text
