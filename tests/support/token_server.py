"""A token server, and the fault that makes a proxied registry require its tokens."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.support.fault_proxy import Answer, FaultProxy, Received
from tests.support.registry import PASSWORD, USERNAME

IDENTITY = "IDENTITY-TOKEN"
_BASIC = "Basic " + b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()


@dataclass(slots=True)
class TokenServer:
    """Grants pull tokens to every client and push tokens after a login; a token is valid for one scope."""

    is_private: bool = False
    """Whether a pull requires a login, too."""
    issued: dict[str, str] = field(default_factory=dict)
    """Scopes by token."""
    revoked: set[str] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)
    """The number of requests for each scope."""
    server: FaultProxy = field(default_factory=FaultProxy)

    def __post_init__(self) -> None:
        self.server.fault(lambda request: True, lambda request, _proxy: self._issue(request))  # noqa: ARG005

    def protect(self, registry: FaultProxy, realm: str | None = None) -> None:
        """Makes the registry require tokens of this realm from now on."""
        registry.fault(lambda _: True, lambda request, _: self._challenge(request, realm or f"{self.server.url}/token"))

    def _issue(self, request: Received) -> Answer:
        form = parse_qs(request.body.decode())
        scope = (form or parse_qs(urlsplit(request.path).query)).get("scope", [""])[0]
        self.asked[scope] += 1
        knows = form.get("refresh_token") == [IDENTITY] if form else request.authorization == _BASIC
        is_anonymous = not form and request.authorization is None
        if not knows and not (is_anonymous and not self.is_private and "push" not in scope):
            return Answer(401, {}, b'{"errors": []}')
        token = f"TOKEN-{len(self.issued)}"
        self.issued[token] = scope
        return Answer(200, {}, json.dumps({"access_token" if form else "token": token}).encode())

    def _challenge(self, request: Received, realm: str) -> Answer | None:
        match = re.match(r"/v2/(.+)/(?:manifests|blobs)/", request.path)
        assert match, request.path
        action = "pull" if request.method in ("GET", "HEAD") else "pull,push"
        scope = f"repository:{match[1]}:{action}"
        token = (request.authorization or "").removeprefix("Bearer ")
        if token not in self.revoked and self.issued.get(token, "").startswith(scope):
            request.headers.pop("authorization")
            return None
        header = f'Bearer realm="{realm}",service="registry.example",scope="{scope}"'
        return Answer(401, {"WWW-Authenticate": header}, b'{"errors": [{"code": "UNAUTHORIZED", "message": "log in"}]}')
