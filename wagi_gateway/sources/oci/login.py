"""The login at a registry: Basic, or a bearer token for the scope of one repository.

Source: distribution's "Token Authentication Specification" and "OAuth2 token authentication".
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from ...config.image_reference import DOCKER_HUB, DOCKER_HUB_HOST
from .challenge import MAX_CHALLENGE, choose_scopes, read_challenges
from .endpoint import RegistryEndpoint
from .errors import Invalid, Unauthorised, Unreachable
from .origin import Origin
from .session import RegistrySession


class _Authorization(AuthBase):
    """An `Authorization` header for one origin.

    requests applies it to the URL of the connection: a `Location` may be read as another host by another parser.
    """

    def __init__(self, origin: Origin, value: str) -> None:
        self.origin = origin
        self.value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if Origin.of(request.url or "") == self.origin:
            request.headers["Authorization"] = self.value
        return request


class Login:
    """The credentials for one repository, and the token they were exchanged for.

    Credentials are sent to the registry's own origin and to the token server that a challenge of this origin names:
    over TLS, or to loopback addresses if the registry itself is a plain one there.

    oras's own login is not used: it sends an old token again for another scope or after expiry, takes a busy token
    server for a wrong password, reads ~/.docker/config.json in any case, and sends a password to a token server over
    plain HTTP.
    """

    def __init__(self, endpoint: RegistryEndpoint, session: RegistrySession, repository: str) -> None:
        self.endpoint = endpoint
        self.session = session
        self.repository = repository
        self.origin = Origin.of(f"{'http' if endpoint.is_plain else 'https'}://{endpoint.host}")
        self.authorization: _Authorization | None = None
        """The `Authorization` header of each request to the registry, once there is one."""
        self.secrets: list[str] = []
        """Passwords and tokens, which no message may hold, should a registry repeat them."""
        self._refusal: Unauthorised | None = None
        if credentials := endpoint.credentials:
            # surrogateescape: bytes of a configuration file that are not UTF-8
            pair = f"{credentials.username}:{credentials.password}".encode(errors="surrogateescape")
            self._basic = b64encode(pair).decode()
            tokens = (credentials.identity_token, credentials.registry_token)
            password = credentials.password
            self.secrets += [secret for secret in (password, password and self._basic, *tokens) if secret]
            if credentials.registry_token and self.origin.is_trustworthy:
                self.authorization = _Authorization(self.origin, f"Bearer {credentials.registry_token}")

    def answer_challenge(self, response: requests.Response) -> None:
        """Logs in as the WWW-Authenticate header of the registry's own 401 response demands, and closes the response.
        Raises RegistryError."""
        header = response.headers.get("WWW-Authenticate", "")
        actions = "pull" if response.request.method in ("GET", "HEAD") else "pull,push"
        response.close()
        host, credentials = self.endpoint.host, self.endpoint.credentials
        if self._refusal:  # a wrong password that is sent again may lock the account
            raise self._refusal
        if len(header) > MAX_CHALLENGE:
            what = f"{host} says in {len(header)} bytes what login it wants; {MAX_CHALLENGE} are allowed"
            raise Invalid(what)
        if credentials and not self.origin.is_trustworthy:
            what = f"{host} wants a login over plain HTTP, where a password would be seen, so none is sent"
            raise Unauthorised(f'{what}; give it TLS, and its ca_file to [registries."{host}"]')
        challenges = read_challenges(header)
        is_basic = "basic" in challenges and credentials is not None and credentials.is_basic
        if "bearer" in challenges:
            try:
                server = self._token_server(challenges["bearer"].get("realm", ""))
            except Invalid:
                if not is_basic:
                    raise
            else:
                token = self._bearer(server, challenges["bearer"], actions)
                self.authorization = _Authorization(self.origin, f"Bearer {token}")
                return
        if is_basic:
            self.authorization = _Authorization(self.origin, f"Basic {self._basic}")
        elif credentials:
            schemes = ", ".join(sorted(challenges))[:100] or "nothing that it names"
            raise Unauthorised(f"{host} wants a login of another kind than our credentials are for: {schemes}")
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

    def _token_server(self, realm: str) -> str:
        """The URL of a token server that may have the credentials. Raises Invalid."""
        host = self.endpoint.host
        url = _normalised(realm)
        if not url:
            raise Invalid(f"{host} names no token server to log in at; this is the registry's mistake")
        server = Origin.of(url)
        if server.scheme == "http":
            is_local = self.origin.is_trustworthy and server.is_trustworthy
            if not self.endpoint.is_plain or (self.endpoint.credentials and not is_local):
                raise Invalid(f"the token server of {host} speaks plain HTTP, where a password would be seen; refused")
        return url

    def _bearer(self, server: str, challenge: dict[str, str], actions: str) -> str:
        host = self.endpoint.host
        scopes = choose_scopes(challenge.get("scope", ""), self.repository, actions)
        try:
            response = self._request_token(server, challenge.get("service", ""), scopes)
        except requests.exceptions.RequestException:
            if self.session.deadline.has_passed:
                raise
            name = Origin.of(server).host
            raise Unreachable(f"the token server {name} of {host} cannot be reached; check the network") from None
        if response.status_code in (400, 401, 403):
            self._refusal = Unauthorised(self.advice)
            raise self._refusal
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

    def _request_token(self, server: str, service: str, scopes: Sequence[str]) -> requests.Response:
        credentials = self.endpoint.credentials
        named = [("service", service)] if service else []
        if credentials and credentials.identity_token:
            own = [("grant_type", "refresh_token"), ("refresh_token", credentials.identity_token)]
            # A redirect is not followed: it would send the body, and so the token, to another host.
            form = [*own, ("client_id", "wagi-gateway"), *named, ("scope", " ".join(scopes))]
            return self.session.post(server, data=form, allow_redirects=False)
        is_basic = credentials is not None and credentials.is_basic
        login = _Authorization(Origin.of(server), f"Basic {self._basic}") if is_basic else None
        return self.session.get(server, params=[*named, *(("scope", scope) for scope in scopes)], auth=login)


def _normalised(realm: str) -> str | None:
    """An absolute URL without user name and password, as requests would send it; None for any other text."""
    request = requests.PreparedRequest()
    try:
        request.prepare_url(realm, None)
        url = request.url or ""
        Origin.of(url)
    except ValueError:  # of urllib, and of requests, whose InvalidURL is one
        return None
    return None if "@" in urlsplit(url).netloc else url
