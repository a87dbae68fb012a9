"""The login at a registry: Basic, or a bearer token for the scope of one repository.

Source: distribution's "Token Authentication Specification" and "OAuth2 token authentication".
"""

from __future__ import annotations

import contextlib
import re
from base64 import b64encode
from urllib.parse import urlsplit

import requests

from ...config.image_reference import DOCKER_HUB, DOCKER_HUB_HOST
from .endpoint import RegistryEndpoint
from .errors import Invalid, Unauthorised, Unreachable
from .session import RegistrySession

MAX_CHALLENGE = 8 << 10
"""Bytes of a WWW-Authenticate header; the large registries send fewer than 300."""
# An authentication scheme, or with a value one of its parameters (RFC 9110 section 11.2). Possessive quantifiers (`++`,
# `*+`) keep the time proportional to the header's length.
_CHALLENGE = re.compile(r'([\w-]++)(?:\s*+=\s*+("(?:[^"\\]|\\.)*+"|[^\s",]++))?+')


class Login:
    """The credentials for one repository, and the token they were exchanged for.

    oras's own login is not used: it sends an old token again for another scope or after expiry, takes a busy token
    server for a wrong password, reads ~/.docker/config.json in any case, and sends a password to a token server over
    plain HTTP.
    """

    def __init__(self, endpoint: RegistryEndpoint, session: RegistrySession, repository: str) -> None:
        self.endpoint = endpoint
        self.session = session
        self.repository = repository
        self.headers: dict[str, str] = {}
        """The `Authorization` header of each request, once there is one."""
        self.secrets: list[str] = []
        """Passwords and tokens, which no message may hold, should a registry repeat them."""
        if credentials := endpoint.credentials:
            self._basic = b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
            tokens = (credentials.identity_token, credentials.registry_token)
            password = credentials.password
            self.secrets += [secret for secret in (password, password and self._basic, *tokens) if secret]
            if credentials.registry_token:
                self.headers = {"Authorization": f"Bearer {credentials.registry_token}"}

    def answer_challenge(self, response: requests.Response) -> None:
        """Logs in as the WWW-Authenticate header of a 401 response demands, and closes the response. Raises
        RegistryError."""
        header = response.headers.get("WWW-Authenticate", "")
        response.close()
        if len(header) > MAX_CHALLENGE:
            what = f"{self.endpoint.host} says in {len(header)} bytes what login it wants; {MAX_CHALLENGE} are allowed"
            raise Invalid(what)
        challenges = read_challenges(header)
        credentials = self.endpoint.credentials
        if "bearer" in challenges:
            self.headers = {"Authorization": f"Bearer {self._bearer(challenges['bearer'])}"}
        elif "basic" in challenges and credentials and credentials.username:
            self.headers = {"Authorization": f"Basic {self._basic}"}
        elif credentials:
            schemes = ", ".join(sorted(challenges))[:100] or "nothing that it names"
            raise Unauthorised(
                f"{self.endpoint.host} wants a login of another kind than our credentials are for: {schemes}"
            )
        else:
            raise Unauthorised(self.advice)

    @property
    def advice(self) -> str:
        """What to do about missing or refused credentials."""
        host = self.endpoint.host
        name = DOCKER_HUB if host == DOCKER_HUB_HOST else host
        login = f'`docker login {name}`, or set username and password_file in [registries."{name}"]'
        if self.endpoint.credentials:
            return f"{host} does not accept the credentials that there are for it; {login}"
        return f"{host} wants a login; {login}"

    def _bearer(self, challenge: dict[str, str]) -> str:
        host, realm = self.endpoint.host, challenge.get("realm", "")
        server = _token_server(realm)
        if not server:
            raise Invalid(f"{host} names no token server to log in at; this is the registry's mistake")
        if realm.startswith("http://") and not self.endpoint.is_plain:
            raise Invalid(f"the token server of {host} speaks plain HTTP, where a password would be seen; refused")
        service = challenge.get("service", "")
        scope = challenge.get("scope") or f"repository:{self.repository}:pull"
        try:
            response = self._request_token(
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

    def _request_token(self, realm: str, parameters: dict[str, str]) -> requests.Response:
        credentials = self.endpoint.credentials
        if credentials and credentials.identity_token:
            own = {"grant_type": "refresh_token", "refresh_token": credentials.identity_token}
            # A redirect is not followed: it would send the body, and so the token, to another host.
            form = {**own, "client_id": "wagi-gateway", **parameters}
            return self.session.post(realm, data=form, allow_redirects=False)
        headers = {"Authorization": f"Basic {self._basic}"} if credentials and credentials.username else {}
        return self.session.get(realm, params=parameters, headers=headers)


def _token_server(realm: str) -> str | None:
    with contextlib.suppress(ValueError):
        if realm.startswith(("https://", "http://")):
            return urlsplit(realm).hostname
    return None


def read_challenges(header: str) -> dict[str, dict[str, str]]:
    """The parameters of each authentication scheme, in lower case; the first challenge of a scheme counts.

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
