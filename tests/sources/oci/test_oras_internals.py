"""Canary: the undocumented behaviour of oras that `OrasClient` relies on."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path
from typing import Any

import oras.container
import oras.logger
import oras.provider
import pytest
import requests

from wagi_gateway.sources.oci.oras_client import OrasClient
from wagi_gateway.sources.oci.session import LOGGERS

DIGEST = f"sha256:{'0' * 64}"
BLOBS = "http://registry.test/v2/team/hello/blobs"


class Recorder(oras.provider.Registry):  # type: ignore[misc]
    """A registry whose requests are recorded instead of sent."""

    def __init__(self) -> None:
        super().__init__(hostname="registry.test", insecure=True)
        self.requests: list[tuple[str, str, Any]] = []
        self.container = oras.container.Container("x", registry="registry.test")
        self.container.namespace, self.container.repository = None, "team/hello"

    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: Any = None,
        headers: Any = None,  # noqa: ARG002
        json: Any = None,  # noqa: ARG002
        stream: bool = False,  # noqa: ARG002
    ) -> requests.Response:
        self.requests.append((method, url, data))
        response = requests.Response()
        response.status_code = 404 if method == "HEAD" else 202
        response.headers["Location"] = "/upload?state=x"
        return response


@pytest.mark.parametrize("name", ["prefix", "session", "headers", "hostname"])
def test_an_attribute_of_the_registry(name: str) -> None:
    assert hasattr(oras.provider.Registry(hostname="registry.test", insecure=True), name)


@pytest.mark.parametrize(("insecure", "prefix"), [(True, "http"), (False, "https")])
def test_the_prefix_is_the_scheme(insecure: bool, prefix: str) -> None:
    assert oras.provider.Registry(hostname="registry.test", insecure=insecure).prefix == prefix


def test_the_signature_of_do_request() -> None:
    ours, theirs = (inspect.signature(each.do_request) for each in (OrasClient, oras.provider.Registry))
    assert list(ours.parameters) == list(theirs.parameters)
    assert [each.default for each in ours.parameters.values()] == [each.default for each in theirs.parameters.values()]


def test_no_name_of_ours_replaces_one_of_oras() -> None:
    own = {name for name in vars(OrasClient) if not name.startswith("__")}
    assert own & set(dir(oras.provider.Registry)) == {"do_request"}


def test_the_urls_of_a_container() -> None:
    container = Recorder().container
    assert f"http://{container.manifest_url('1')}" == "http://registry.test/v2/team/hello/manifests/1"
    assert f"http://{container.get_blob_url(DIGEST)}" == f"{BLOBS}/{DIGEST}"


def test_get_blob_sends_one_request() -> None:
    registry = Recorder()
    registry.get_blob(registry.container, DIGEST, stream=True)
    assert registry.requests == [("GET", f"{BLOBS}/{DIGEST}", None)]


def test_upload_blob_sends_all_requests_with_do_request(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"module")
    registry = Recorder()
    registry.upload_blob(str(tmp_path / "blob"), registry.container, {"digest": DIGEST, "size": 6})
    assert [(method, url.partition("?")[0], data) for method, url, data in registry.requests] == [
        ("HEAD", f"{BLOBS}/{DIGEST}", None),
        ("POST", f"{BLOBS}/uploads/", None),
        ("PUT", "http://registry.test/upload", b"module"),
    ]


def test_the_logger_of_oras_is_muted() -> None:
    assert isinstance(oras.logger.logger.logger, logging.Logger)
    assert oras.logger.logger.logger.name in LOGGERS
