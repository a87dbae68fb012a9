"""Client certificates of the node's API."""

from __future__ import annotations

import socket
import ssl

import httpx
import pytest

from tests.support.node_api import HOST, NodeApi
from wagi_gateway.errors import StartupError
from wagi_gateway.node.server.tls import accept_client_certificates


@pytest.mark.parametrize("certificate", ["other/stranger", "node"])
def test_a_certificate_of_another_authority_or_purpose_is_refused(node_api: NodeApi, certificate: str) -> None:
    context = node_api.context(None)
    path = node_api.directory / certificate
    context.load_cert_chain(path.with_suffix(".crt"), path.with_suffix(".key"))
    with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError, httpx.WriteError)):
        httpx.get(f"https://{HOST}:{node_api.port}/healthz", verify=context, trust_env=False)


def test_no_session_is_resumed(node_api: NodeApi) -> None:
    context = node_api.context()
    with httpx.Client(verify=context, base_url=f"https://{HOST}:{node_api.port}", trust_env=False) as client:
        assert client.get("/pods").status_code == 200
    assert context.session_stats()["hits"] == 0
    with context.wrap_socket(socket.create_connection((HOST, node_api.port)), server_hostname=HOST) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        while connection.recv(65536):
            pass
        assert not connection.session or not connection.session.has_ticket


@pytest.mark.parametrize("authorities", ["", "no certificate", "é"])
def test_authorities_that_are_none(authorities: str) -> None:
    with pytest.raises(StartupError, match="is no certificate in PEM"):
        accept_client_certificates(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), authorities)
