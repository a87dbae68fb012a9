"""The node's API over TLS on loopback, with containers that a test sets up, and a client of its WebSockets."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import wsproto
from starlette.types import ASGIApp
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from tests.conftest import wait_until
from tests.support.cluster.certificates import Authority
from tests.support.kubernetes_api import MemoryApi
from wagi_gateway.node.api import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS, Api, Object
from wagi_gateway.node.server.app import create_node_app
from wagi_gateway.node.server.containers import Container, UnknownContainer, UnknownPod
from wagi_gateway.node.server.server import NodeServer, listening_to_clients
from wagi_gateway.node.server.tls import accept_client_certificates
from wagi_gateway.tls import Certificate

HOST = "127.0.0.1"
NODE = "wagi-1"
ADMIN, READER = "kube-apiserver-kubelet-client", "prometheus"


@dataclass
class Pods:
    """Containers by namespace, Pod and name."""

    all: dict[tuple[str, str], dict[str, Container]] = field(default_factory=dict)
    status: dict[tuple[str, str], Object] = field(default_factory=dict)

    def container(self, namespace: str, pod: str, name: str) -> Container:
        if (namespace, pod) not in self.all:
            raise UnknownPod(pod)
        if name not in self.all[namespace, pod]:
            raise UnknownContainer(pod, name)
        return self.all[namespace, pod][name]

    def pods(self) -> list[Object]:
        return [
            {
                "metadata": {"namespace": namespace, "name": name, "uid": f"uid-{name}"},
                "spec": {"containers": [{"name": one} for one in containers]},
                "status": self.status.get((namespace, name), {}),
            }
            for (namespace, name), containers in self.all.items()
        ]

    def add(self, pod: str, container: str, log: Path, *, namespace: str = "default", **options: Any) -> None:
        """Adds a container, or replaces it."""
        given: dict[str, Any] = {"configuration": log.with_name("modules.toml"), "route": "/..."} | options
        self.all.setdefault((namespace, pod), {})[container] = Container(log=log, **given)

    def change(self, pod: str, container: str, **options: Any) -> None:
        """Changes fields of a container."""
        one = self.all["default", pod]
        one[container] = replace(one[container], **options)


@dataclass
class NodeApi:
    """A running node's API."""

    pods: Pods
    api: MemoryApi
    directory: Path
    server: NodeServer
    port: int

    def context(self, user: str | None = ADMIN) -> ssl.SSLContext:
        """The TLS of a client with the certificate of a user."""
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        if user:
            context.load_cert_chain(self.directory / f"{user}.crt", self.directory / f"{user}.key")
        return context

    def client(self, user: str | None = ADMIN, token: str | None = None) -> httpx.Client:
        """A client with the certificate of a user, or with a token."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        url = f"https://{HOST}:{self.port}"
        return httpx.Client(verify=self.context(user), base_url=url, headers=headers, timeout=30, trust_env=False)

    def get(self, path: str, user: str | None = ADMIN, token: str | None = None, **options: Any) -> httpx.Response:
        """A GET over a connection of its own."""
        with self.client(user, token) as client:
            return client.get(path, **options)

    def websocket(self, path: str, user: str | None = ADMIN, **options: Any) -> WebSocketClient:
        """A WebSocket connection, or a refused one."""
        return WebSocketClient(self.port, self.context(user), path, **options)


class WebSocketClient:
    """A client of `kubectl exec`'s protocol."""

    def __init__(
        self, port: int, context: ssl.SSLContext, path: str, subprotocols: tuple[str, ...] = ("v5.channel.k8s.io",)
    ) -> None:
        self.socket = context.wrap_socket(socket.create_connection((HOST, port), timeout=60), server_hostname=HOST)
        self._connection = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._events: list[Any] = []
        self.status: int | None = None
        """The status of a refusal."""
        self.body = b""
        self.socket.sendall(self._connection.send(Request(host=HOST, target=path, subprotocols=list(subprotocols))))
        first = self._event()
        if isinstance(first, RejectConnection):
            self.status = first.status_code
            while isinstance(data := self._event(), RejectData):
                self.body += bytes(data.data)
                if data.body_finished:
                    break
            self.close()
        else:
            assert isinstance(first, AcceptConnection)
            assert first.subprotocol == "v5.channel.k8s.io"

    def send(self, data: bytes) -> None:
        """Sends a frame."""
        self.socket.sendall(self._connection.send(BytesMessage(data)))

    def send_text(self, text: str) -> None:
        """Sends a frame of the other kind."""
        self.socket.sendall(self._connection.send(TextMessage(text)))

    def close(self) -> None:
        """Cuts the connection."""
        self.socket.close()

    def channels(self) -> dict[int, bytes]:
        """What arrives until the end, by channel."""
        found: dict[int, bytes] = {}
        with self.socket:
            while isinstance(event := self._event(), BytesMessage):
                found[event.data[0]] = found.get(event.data[0], b"") + bytes(event.data[1:])
        assert isinstance(event, CloseConnection)
        return found

    def _event(self) -> Any:
        while not self._events:
            data = self.socket.recv(65536)
            self._connection.receive_data(data or None)
            for event in self._connection.events():
                if isinstance(event, wsproto.events.Ping):
                    self.socket.sendall(self._connection.send(event.response()))
                else:
                    self._events.append(event)
        return self._events.pop(0)


def exec_path(pod: str, container: str, *command: str, **options: str) -> str:
    """The path of `kubectl exec`."""
    query = [("command", word) for word in command] + [("output", "1"), ("error", "1"), *options.items()]
    return f"/exec/default/{pod}/{container}?{urlencode(query)}"


def outcome(channels: dict[int, bytes]) -> str:
    """`Success`, or the exit code of a Status."""
    status: dict[str, Any] = json.loads(channels[3])
    return str(status["status"] if status["status"] == "Success" else status["details"]["causes"][0]["message"])


def reviewing_api() -> MemoryApi:
    """An API that knows the token `good` as READER, and allows ADMIN everything, and READER to get metrics."""
    api = MemoryApi()

    def review(body: Object) -> Object:
        user = {"username": READER, "uid": "u1", "groups": ["system:authenticated"], "extra": {"scopes": ["a", "b"]}}
        is_good = body["spec"]["token"] == "good"
        return body | {"status": {"authenticated": True, "user": user} if is_good else {"error": "no such token"}}

    def access(body: Object) -> Object:
        spec, what = body["spec"], body["spec"]["resourceAttributes"]
        assert (what["resource"], what["name"], what["version"]) == ("nodes", NODE, "v1")
        is_reader = spec["user"] == READER and (what["verb"], what["subresource"]) in (
            ("get", "metrics"),
            ("get", "proxy"),
        )
        return body | {"status": {"allowed": spec["user"] == ADMIN or is_reader}}

    api.answers = {TOKEN_REVIEWS: review, SUBJECT_ACCESS_REVIEWS: access}
    return api


def issue_certificates(directory: Path) -> None:
    """Writes an authority, the certificates of the node, of ADMIN and READER, and others."""
    authority = Authority(directory)
    authority.server("node", HOST)
    authority.client(ADMIN, ADMIN, "kubeadm:cluster-admins")
    authority.client(READER, READER)
    (directory / "other").mkdir()
    Authority(directory / "other").client("stranger", ADMIN, "system:masters")


@contextmanager
def running_node_api(directory: Path) -> Iterator[NodeApi]:
    """Serves on a free port, with an API server in memory."""
    issue_certificates(directory)
    pods, api = Pods(), reviewing_api()
    with serving(create_node_app(NODE, api, pods), api, directory, directory / "ca.crt") as (server, port):
        yield NodeApi(pods, api, directory, server, port)


@contextmanager
def serving(app: ASGIApp, api: Api, directory: Path, authorities: Path) -> Iterator[tuple[NodeServer, int]]:
    """Serves on a free port and an event loop of its own, with the certificate `node` of a directory; closes `api`."""
    certificate = Certificate((directory / "node.key").read_bytes() + (directory / "node.crt").read_bytes())
    accept_client_certificates(certificate.context, authorities.read_text())
    server, loop = NodeServer(app, certificate.context), asyncio.new_event_loop()
    with listening_to_clients(HOST, 0) as listener:
        serving = loop.create_task(server.serve_socket(listener))

        def run() -> None:
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(serving)
            loop.run_until_complete(api.aclose())

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(lambda: server.started)
        try:
            yield server, listener.getsockname()[1]
        finally:
            loop.call_soon_threadsafe(serving.cancel)
            thread.join()
            loop.close()
