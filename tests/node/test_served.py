"""The parts of a node: Pods and API are served, and the API with the current authorities of clients."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Literal

import httpx
import pytest

from tests.support.kubernetes_api import ConnectedApi
from tests.support.node_api import issue_certificates
from tests.support.node_identity import identity_of
from wagi_gateway.node import client_authorities
from wagi_gateway.node.certificates import ServingCertificate
from wagi_gateway.node.events import Events
from wagi_gateway.node.node import NodeParts
from wagi_gateway.node.options import NodeOptions
from wagi_gateway.node.served import served

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def test_an_authority_of_clients_is_taken_while_the_api_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_authorities, "REFRESH", 0.05)
    issue_certificates(tmp_path)
    authorities, port = tmp_path / "clients.crt", free_port()
    authorities.write_bytes((tmp_path / "ca.crt").read_bytes())
    options = NodeOptions(
        name="n", state_directory=tmp_path / "state", listen=HOST, port=port, client_ca_file=authorities
    )
    options.state_directory.mkdir()
    api = ConnectedApi()
    certificate = ServingCertificate(options, (HOST,), is_node=False)
    parts = NodeParts(api, options, Events(api, "n"), (HOST,), certificate, identity_of(api))
    stranger = ssl.create_default_context()
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    stranger.load_cert_chain(tmp_path / "other" / "stranger.crt", tmp_path / "other" / "stranger.key")

    async def is_accepted(context: ssl.SSLContext | Literal[False] = stranger) -> bool:
        try:
            async with httpx.AsyncClient(verify=context, trust_env=False) as client:
                return (await client.get(f"https://{HOST}:{port}/healthz")).text == "ok"
        except httpx.TransportError:
            return False

    async def until_accepted(context: ssl.SSLContext | Literal[False] = stranger) -> None:
        async with asyncio.timeout(60):
            while not await is_accepted(context):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def story() -> None:
        serving = asyncio.create_task((await served(parts)).serve())
        await until_accepted(False)
        assert not await is_accepted()
        authorities.write_bytes((tmp_path / "other" / "ca.crt").read_bytes())
        await until_accepted()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(story())
