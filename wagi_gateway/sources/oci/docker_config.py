"""The credentials in Docker's `config.json`, which podman and skopeo call `auth.json`.

    {"auths": {"ghcr.io": {"auth": "dXNlcjpwYXNz"}}, "credHelpers": {"gcr.io": "gcloud"}, "credsStore": "pass"}

Sources: containers-auth.json(5), https://docs.docker.com/reference/cli/docker/login.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...config.image_reference import DOCKER_HUB
from .credential_helper import HelperCredentials, HelperFailed
from .endpoint import Credentials

MAX_FILE = 2**20
"""Bytes of a file."""
_HUB_ALIASES = {"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
_HUB_KEY = "https://index.docker.io/v1/"

# The user name with which a helper marks its secret as an identity token.
_TOKEN_USER = "<token>"  # noqa: S105
_TOKEN = re.compile(r"[\x21-\x7e]+")


RunHelper = Callable[[str, str], HelperCredentials | None]
"""Called with the names of helper and server; raises HelperFailed."""


class EntryWrong(Exception):
    """An unusable file or entry; the message names file and key, never the secret."""


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """A parsed file, without its unknown keys."""

    path: Path
    auths: dict[str, object]
    helpers: dict[str, object]
    store: object = None

    @classmethod
    def read(cls, path: Path) -> DockerConfig | None:
        """Reads a file; None without one. Raises EntryWrong."""
        try:
            if path.exists() and not path.is_file():
                raise EntryWrong(f"{path} is not a file")
            with path.open("rb") as file:
                data = file.read(MAX_FILE + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise EntryWrong(f"{path} cannot be read: {error.strerror}") from None
        if len(data) > MAX_FILE:
            raise EntryWrong(f"{path} is larger than {MAX_FILE // 2**20} MiB")
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise EntryWrong(f"{path} is not a JSON object")
        auths, helpers = (_table(path, document, key) for key in ("auths", "credHelpers"))
        if document.keys().isdisjoint(("auths", "credHelpers", "credsStore")):  # .dockercfg: the entries alone
            auths = {key: value for key, value in document.items() if isinstance(value, dict) and "auth" in value}
        return cls(path, auths, helpers, document.get("credsStore"))

    def find(self, registry: str, repository: str, run_helper: RunHelper) -> Credentials | None:
        """The credentials for a repository: from its own helper, its entry, or the credential store. Raises
        EntryWrong."""
        server = _HUB_KEY if registry == DOCKER_HUB else registry
        if key := _most_specific(self.helpers, registry, repository):
            return self._from_helper(f"credHelpers.{json.dumps(key)}", self.helpers[key], server, run_helper)
        key = _most_specific(self.auths, registry, repository)
        # `docker login` with a credential store leaves an empty entry.
        if key and (credentials := self._from_entry(f"auths.{json.dumps(key)}", self.auths[key])):
            return credentials
        if self.store:
            return self._from_helper("credsStore", self.store, server, run_helper)
        return None

    def _from_helper(self, key: str, name: object, server: str, run_helper: RunHelper) -> Credentials | None:
        try:
            if not isinstance(name, str):
                raise HelperFailed("a credential helper is named by a text")
            found = run_helper(name, server)
        except HelperFailed as error:
            raise EntryWrong(f"{self.path}: {key}: {error}") from None
        if not found:
            return None
        if found.username == _TOKEN_USER:
            return Credentials(identity_token=found.secret)
        return Credentials(found.username, found.secret)

    def _from_entry(self, key: str, entry: object) -> Credentials | None:
        where = f"{self.path}: {key}"
        if not isinstance(entry, dict):
            raise EntryWrong(f"{where} is not an object")
        values = {name: entry.get(name) or "" for name in _ENTRY}
        for name, value in values.items():
            if not isinstance(value, str):
                raise EntryWrong(f"{where}.{name} is not a text")
        if token := values["registrytoken"]:
            if not _TOKEN.fullmatch(token):
                raise EntryWrong(f"{where}.registrytoken is not a token")
            return Credentials(registry_token=token)
        username, password = values["username"], values["password"]
        if values["auth"]:
            username, password = _basic(values["auth"], f"{where}.auth")
        if token := values["identitytoken"]:
            return Credentials(username=username, identity_token=token)
        return Credentials(username, password) if username or password else None


_ENTRY = ("auth", "username", "password", "identitytoken", "registrytoken")


def normalised(registry: str) -> str:
    """The host name in lower case; one name for all of Docker Hub's."""
    host = registry.lower()
    return DOCKER_HUB if host in _HUB_ALIASES else host


def _table(path: Path, document: dict[str, object], key: str) -> dict[str, object]:
    table = document.get(key) or {}
    if not isinstance(table, dict):
        raise EntryWrong(f"{path}: {key} is not an object")
    return table


def _basic(text: str, where: str) -> tuple[str, str]:
    """Decodes `auth`, the base64 of `user:password`."""
    try:
        decoded = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        raise EntryWrong(f"{where} is not base64 of USER:PASSWORD") from None
    username, colon, password = decoded.partition(":")
    if not colon:
        raise EntryWrong(f"{where} is not base64 of USER:PASSWORD")
    return username, password.strip("\0")  # as Docker does: its old versions padded passwords


def _most_specific(keys: Iterable[str], registry: str, repository: str) -> str | None:
    """The key for the longest part of `registry/repository`, its host at least; None without one."""
    names: dict[str, str] = {}
    for key in keys:
        name = _key_name(key)
        if name not in names or key == name:  # the canonical spelling wins
            names[name] = key
    return next((names[part] for part in _parts(f"{registry}/{repository}") if part in names), None)


def _parts(path: str) -> Iterator[str]:
    """`host/a/b`, `host/a`, `host`."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _key_name(key: str) -> str:
    """Normalises a key to `host[:port][/path]`: without the scheme and the API version that `docker login` writes."""
    name, had_scheme = re.subn(r"^https?://", "", key)
    name = re.sub(r"/v[12]/?$" if had_scheme else r"/v[12]/$", "", name).rstrip("/")
    host, slash, path = name.partition("/")
    return normalised(host) + slash + path
