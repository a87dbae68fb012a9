"""What a registry asks for before it answers, and our answer: Basic, or a bearer token for one repository's scope.

Source: distribution's "Token Authentication Specification" and "OAuth2 token authentication".
"""

from __future__ import annotations

import contextlib
import re
from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit

import requests
from oras.auth.token import TokenAuth

from ...config.image_reference import DOCKER_HUB, DOCKER_HUB_HOST
from .endpoint import RegistryEndpoint
from .errors import Invalid, Unauthorised, Unreachable
from .session import RegistrySession

MAX_CHALLENGE = 8 << 10
"""Bytes in which a registry says what login it wants; those of the great ones are below 300."""
# A scheme's name, or with a value one of its parameters (RFC 9110 section 11.2). Nothing is given back once it is taken
# (`++`, `*+`): a stranger's header costs time in proportion to its length.
_CHALLENGE = re.compile(r'([\w-]++)(?:\s*+=\s*+("(?:[^"\\]|\\.)*+"|[^\s",]++))?+')


class Denied(Exception):
    """403, which oras would answer with a login."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__()
        self.response = response


class Login(TokenAuth):  # type: ignore[misc]  # oras has no types
    """oras asks this for a header; `token` holds the header's whole value once there is one.

    Of oras's own flow nothing is left: it sends the old token again when another scope is asked for or the token has
    expired, takes a busy token server for a wrong password, reads ~/.docker/config.json whatever it was given, and
    sends the password to a token server over plain HTTP.
    """

    def __init__(self, access: RegistryEndpoint, session: RegistrySession, repository: str) -> None:
        super().__init__()
        self.access = access
        self.session = session
        self.repository = repository
        self.token: str | None = None
        self.secrets: list[str] = []
        """What must not be in a text, should a registry send it back in a message."""
        if credentials := access.credentials:
            self._basic = b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
            tokens = (credentials.identity_token, credentials.registry_token)
            password = credentials.password
            self.secrets += [secret for secret in (password, password and self._basic, *tokens) if secret]
            if credentials.registry_token:
                self.token = f"Bearer {credentials.registry_token}"

    def load_configs(self, container: Any, configs: Any = None) -> None:
        """Credentials are given, not looked for."""

    def get_auth_header(self) -> dict[str, str]:
        """What to send without being asked again."""
        return {"Authorization": self.token} if self.token else {}

    def authenticate_request(
        self,
        original: requests.Response,
        headers: dict[str, str],
        refresh: bool = False,  # noqa: ARG002 - oras's signature
    ) -> tuple[dict[str, str], bool]:
        """The headers to ask again with, and that they have changed. Raises RegistryError and Denied."""
        if original.status_code == 403:  # a new token would not change that
            raise Denied(original)
        header = original.headers.get("WWW-Authenticate", "")
        original.close()
        if len(header) > MAX_CHALLENGE:
            what = f"{self.access.host} says in {len(header)} bytes what login it wants; {MAX_CHALLENGE} are allowed"
            raise Invalid(what)
        challenges = read_challenges(header)
        credentials = self.access.credentials
        if "bearer" in challenges:
            self.token = f"Bearer {self._bearer(challenges['bearer'])}"
        elif "basic" in challenges and credentials and credentials.username:
            self.token = f"Basic {self._basic}"
        elif credentials:
            asked = ", ".join(sorted(challenges))[:100] or "nothing that it names"
            raise Unauthorised(
                f"{self.access.host} wants a login of another kind than our credentials are for: {asked}"
            )
        else:
            raise Unauthorised(self.advice)
        return {**headers, **self.get_auth_header()}, True

    @property
    def advice(self) -> str:
        """What to do about a login that is missing or refused."""
        host = self.access.host
        name = DOCKER_HUB if host == DOCKER_HUB_HOST else host
        login = f'`docker login {name}`, or set username and password_file in [registries."{name}"]'
        if self.access.credentials:
            return f"{host} does not accept the credentials that there are for it; {login}"
        return f"{host} wants a login; {login}"

    def _bearer(self, challenge: dict[str, str]) -> str:
        host, realm = self.access.host, challenge.get("realm", "")
        server = _host(realm)
        if not server:
            raise Invalid(f"{host} names no token server to log in at; this is the registry's mistake")
        if realm.startswith("http://") and not self.access.is_plain:
            raise Invalid(f"the token server of {host} speaks plain HTTP, where a password would be seen; refused")
        service = challenge.get("service", "")
        scope = challenge.get("scope") or f"repository:{self.repository}:pull"
        try:
            response = self._ask(
                realm, {key: value for key, value in (("service", service), ("scope", scope)) if value}
            )
        except requests.exceptions.RequestException:
            if self.session.deadline.has_passed:
                raise
            raise Unreachable(f"the token server {server} of {host} cannot be reached; check the network") from None
        if response.status_code in (400, 401, 403):
            raise Unauthorised(self.advice)
        if response.status_code != 200:
            raise Unreachable(f"the token server of {host} answers {response.status_code}; try again later")
        try:
            answer = response.json()
            token = answer.get("token") or answer.get("access_token")
        except (ValueError, RecursionError, AttributeError):
            token = None
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise Invalid(f"the token server of {host} answers without a token; this is the server's mistake")
        self.secrets.append(token)
        return token

    def _ask(self, realm: str, parameters: dict[str, str]) -> requests.Response:
        credentials = self.access.credentials
        if credentials and credentials.identity_token:
            own = {"grant_type": "refresh_token", "refresh_token": credentials.identity_token}
            # Not followed: a redirect would carry the body, and with it the token, elsewhere.
            form = {**own, "client_id": "wagi-gateway", **parameters}
            return self.session.post(realm, data=form, allow_redirects=False)
        headers = {"Authorization": f"Basic {self._basic}"} if credentials and credentials.username else {}
        return self.session.get(realm, params=parameters, headers=headers)


def _host(realm: str) -> str | None:
    with contextlib.suppress(ValueError):
        if realm.startswith(("https://", "http://")):
            return urlsplit(realm).hostname
    return None


def read_challenges(header: str) -> dict[str, dict[str, str]]:
    """Parameters by scheme in lower case; the first of a scheme counts.

    >>> read_challenges('Basic realm="x", Bearer realm="https://t/",scope=repository:x:pull')
    {'basic': {'realm': 'x'}, 'bearer': {'realm': 'https://t/', 'scope': 'repository:x:pull'}}
    """
    challenges: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for name, value in _CHALLENGE.findall(header):
        if value:
            text = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
            current.setdefault(name.lower(), text)
        elif name[0].isalpha():
            current = {}
            challenges.setdefault(name.lower(), current)
    return challenges
