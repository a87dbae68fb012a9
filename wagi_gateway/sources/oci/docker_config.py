"""The credentials in Docker's `config.json`, which podman and skopeo call `auth.json`.

    {"auths": {"ghcr.io": {"auth": "dXNlcjpwYXNz"}}, "credHelpers": {"gcr.io": "gcloud"}, "credsStore": "pass"}

Sources: containers-auth.json(5), https://docs.docker.com/reference/cli/docker/login.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...config.image_reference import DOCKER_HUB
from .auth_key import HUB_KEY, matching_keys
from .credential_helper import HelperCredentials, HelperFailed, is_text
from .endpoint import Credentials

MAX_FILE = 2**20
"""Bytes of a file."""

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
        return cls.parse(data, path)

    @classmethod
    def parse(cls, data: bytes, path: Path) -> DockerConfig:
        """Parses the content of a file; `path` is its name in messages. Raises EntryWrong."""
        if len(data) > MAX_FILE:
            raise EntryWrong(f"{path} is larger than {MAX_FILE // 2**20} MiB")
        entries = _parse(data, path)
        document = _folded(entries)
        auths, helpers = (_table(path, document, key) for key in ("auths", "credHelpers"))
        if document.keys().isdisjoint(("auths", "credhelpers", "credsstore")):  # .dockercfg: the entries alone
            auths = {key: value for key, value in entries.items() if _is_entry(value)}
        return cls(path, auths, helpers, document.get("credsstore"))

    def find(self, registry: str, repository: str, run_helper: RunHelper) -> Credentials | None:
        """The credentials for a repository: from its own helper, its entry, or the credential store. Raises
        EntryWrong."""
        server = HUB_KEY if registry == DOCKER_HUB else registry
        if key := next(matching_keys(self.helpers, registry, repository), None):
            return self._from_helper(f"credHelpers.{json.dumps(key)}", self.helpers[key], server, run_helper)
        for key in matching_keys(self.auths, registry, repository):
            # `docker login` with a credential store leaves an empty entry.
            if credentials := self._from_entry(f"auths.{json.dumps(key)}", self.auths[key]):
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
        values = _texts(entry, where)
        if token := values["registrytoken"]:
            if not _TOKEN.fullmatch(token):
                raise EntryWrong(f"{where}.registrytoken is not a token")
            return Credentials(registry_token=token)
        username, password = values["username"], values["password"]
        if values["auth"].strip():
            username, password = _basic(values["auth"], f"{where}.auth")
        if token := values["identitytoken"]:
            return Credentials(username=username, identity_token=token)
        return Credentials(username, password) if username or password else None


_ENTRY = ("auth", "username", "password", "identitytoken", "registrytoken")


def _folded(document: dict[str, object]) -> dict[str, object]:
    """The members by their names in lower case: Go's encoding/json ignores case. The exact spelling wins."""
    lower = {key.lower(): value for key, value in document.items()}
    return lower | {key: value for key, value in document.items() if key in lower}


def _texts(entry: object, where: str) -> dict[str, str]:
    """The members of an entry that may hold credentials; empty where there is none."""
    if not isinstance(entry, dict | None):
        raise EntryWrong(f"{where} is not an object")
    members = _folded(entry or {})
    texts = {}
    for name in _ENTRY:
        text = members.get(name) or ""
        if not is_text(text):
            raise EntryWrong(f"{where}.{name} is not a text")
        texts[name] = text
    return texts


def _is_entry(value: object) -> bool:
    return isinstance(value, dict) and not _folded(value).keys().isdisjoint(_ENTRY)


def _parse(data: bytes, path: Path) -> dict[str, object]:
    """The object that a file begins with; Docker ignores what follows, and takes an empty file for an empty object."""
    text = data.decode(json.detect_encoding(data), "replace").strip()
    try:
        document, _ = json.JSONDecoder().raw_decode(text or "{}")
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise EntryWrong(f"{path} is not a JSON object")
    return document


def _table(path: Path, document: dict[str, object], key: str) -> dict[str, object]:
    table = document.get(key.lower()) or {}
    if not isinstance(table, dict):
        raise EntryWrong(f"{path}: {key} is not an object")
    return table


def _basic(text: str, where: str) -> tuple[str, str]:
    """Decodes `auth`, the base64 of `user:password`: with line breaks as Go does, without padding as a kubelet does."""
    text = "".join(text.split())
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode(errors="surrogateescape")
    except (binascii.Error, ValueError):
        raise EntryWrong(f"{where} is not base64 of USER:PASSWORD") from None
    username, colon, password = decoded.partition(":")
    if not colon:
        raise EntryWrong(f"{where} is not base64 of USER:PASSWORD")
    return username, password.strip("\0")  # as Docker does: its old versions padded passwords
