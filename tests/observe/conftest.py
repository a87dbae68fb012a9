"""A registry of processes with a site of one module, and the configuration of loggers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support import guests
from wagi_gateway.config.file import ConfigFile
from wagi_gateway.config.settings import CacheConfig, Config, ModuleConfig
from wagi_gateway.observe import log
from wagi_gateway.observe.log_record import ACCESS, SERVER
from wagi_gateway.observe.process_registry import ProcessRegistry
from wagi_gateway.site.load import load
from wagi_gateway.site.site import Site


@pytest.fixture(scope="session")
def hello_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    (directory / "hello.wat").write_text(guests.HELLO)
    config = Config(module=(ModuleConfig(route="/hello", module="hello.wat"),), cache=CacheConfig(enabled=False))
    with closing(load(ConfigFile(directory / "modules.toml", config))) as site:
        yield site


@pytest.fixture
def registry(hello_site: Site, request: pytest.FixtureRequest) -> ProcessRegistry:
    """A registry for one worker; `@pytest.mark.parametrize("registry", [2], indirect=True)` sets another number."""
    return ProcessRegistry(hello_site.served(), getattr(request, "param", 1))


@pytest.fixture
def restored() -> Iterator[None]:
    """Restores the configuration of the loggers after a test."""
    names = ("", log.GUEST, ACCESS, SERVER, "wagi_gateway", "uvicorn", "opentelemetry")
    loggers = [logging.getLogger(name) for name in names]
    before = [(one, one.handlers[:], one.filters[:], one.level, one.propagate, one.disabled) for one in loggers]
    yield
    for one, handlers, filters, level, propagate, disabled in before:
        one.handlers[:], one.filters[:], one.propagate, one.disabled = handlers, filters, propagate, disabled
        one.setLevel(level)
