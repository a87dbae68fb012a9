"""Canary: the undocumented behaviour of requests and urllib3 that `RegistrySession` relies on."""

from __future__ import annotations

import importlib.util
import logging

import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.retry import Retry

from wagi_gateway.sources.oci.session import LOGGERS


@pytest.mark.parametrize(
    ("class_", "name"),
    [
        (requests.Session, "rebuild_auth"),
        (requests.Session, "should_strip_auth"),
        (HTTPAdapter, "init_poolmanager"),
        (HTTPAdapter, "proxy_manager_for"),
        (HTTPAdapter, "cert_verify"),
        (HTTPConnection, "connect"),
        (HTTPConnection, "request"),
        (urllib3.HTTPConnectionPool, "ConnectionCls"),
        (urllib3.HTTPSConnectionPool, "ConnectionCls"),
        (urllib3.HTTPResponse, "read1"),
        (Retry, "parse_retry_after"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_method(class_: type, name: str) -> None:
    assert callable(getattr(class_, name))


def test_the_pools_of_a_manager_are_replaced_by_scheme() -> None:
    manager = HTTPAdapter().poolmanager
    assert manager.pool_classes_by_scheme == {"http": urllib3.HTTPConnectionPool, "https": urllib3.HTTPSConnectionPool}
    manager.pool_classes_by_scheme = {"http": type("Own", (urllib3.HTTPConnectionPool,), {})}
    assert type(manager.connection_from_url("http://registry.test")).__name__ == "Own"


def test_a_proxy_has_a_manager_of_its_own() -> None:
    assert HTTPAdapter().proxy_manager_for("http://proxy.test:3128").pool_classes_by_scheme.keys() == {"http", "https"}


@pytest.mark.parametrize("class_", [HTTPConnection, HTTPSConnection])
def test_a_connection_has_its_socket(class_: type[HTTPConnection]) -> None:
    assert class_("registry.test").sock is None


@pytest.mark.parametrize("name", ["connection", "connectionpool", "poolmanager", "response", "util.retry"])
def test_a_logger_of_urllib3_is_muted(name: str) -> None:
    module = importlib.import_module(f"urllib3.{name}")
    assert isinstance(module.log, logging.Logger)
    assert module.log.name in LOGGERS


def test_no_logger_of_urllib3_is_forgotten() -> None:
    apart = ("urllib3.contrib", "urllib3.http2")  # not imported by requests, or not used by it
    found = {name for name in logging.root.manager.loggerDict if name.startswith("urllib3.")}
    found = {name for name in found if importlib.util.find_spec(name)}  # other tests may have made loggers
    found = {name for name in found if isinstance(logging.root.manager.loggerDict[name], logging.Logger)}
    assert {name for name in found if not name.startswith(apart)} <= set(LOGGERS)
