"""The search for credentials: the `[registries]` table, then the files of `docker login` and `podman login`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...config.settings import RegistryConfig
from .auth_key import normalised
from .credential_helper import HelperCredentials, HelperFailed, run_helper
from .docker_config import DockerConfig, EntryWrong
from .endpoint import Credentials
from .errors import Unauthorised

MAX_PASSWORD = 64 * 1024
"""Bytes of a password file."""


@dataclass(frozen=True, slots=True)
class FoundCredentials:
    """The credentials for one repository, if any, and the places that were searched."""

    credentials: Credentials | None
    searched: tuple[str, ...]
    """The place that the credentials come from; without credentials, every place that was searched, and why it has
    none."""
    warnings: tuple[str, ...] = ()
    """Files and helpers that could not be used."""


class AuthFile(NamedTuple):
    """A file of credentials, as `docker login` or `podman login` writes it."""

    path: Path
    name: str
    """The file's name in messages, with the variable that names it."""
    is_required: bool
    """Whether the user has named the file: an unusable one is an error then."""


class CredentialSource:
    """Finds credentials. Files are read and helpers run once, when a registry is first contacted."""

    def __init__(
        self,
        auth_files: Sequence[Path],
        environ: Mapping[str, str],
        registries: Mapping[str, RegistryConfig],
        base: Path,
    ) -> None:
        """`auth_files` are named by the user; `base` is the base of relative paths in the `registries` tables."""
        self._auth_files = tuple(auth_files)
        self._environ = environ
        self._registries = {normalised(host): (host, table) for host, table in registries.items()}
        self._base = base
        self._configs: dict[Path, DockerConfig | EntryWrong | None] = {}
        self._helper_results: dict[tuple[str, str], HelperCredentials | HelperFailed | None] = {}
        self._lock = threading.Lock()

    def find(self, registry: str, repository: str) -> FoundCredentials:
        """The credentials for a repository. Raises Unauthorised."""
        registry = normalised(registry)
        host, table = self._registries.get(registry, (registry, None))
        if table and (table.username or table.password_file or table.password_env):
            where = f'[registries."{host}"]'
            return FoundCredentials(_from_table(where, table, self._environ, self._base), (where,))
        with self._lock:  # concurrent pulls run a helper once
            return self._search(registry, repository)

    def _search(self, registry: str, repository: str) -> FoundCredentials:
        searched = [f'[registries."{registry}"] (no username)']
        warnings: list[str] = []
        for path, name, is_required in self.files():
            try:
                config = self._config(path)
                if config and (credentials := config.find(registry, repository, self._run_helper)):
                    return FoundCredentials(credentials, (name,), tuple(warnings))
            except EntryWrong as error:
                if is_required:
                    raise Unauthorised(str(error)) from None
                searched.append(str(error))
                warnings.append(f"{error}; it is not used")
                continue
            if is_required and not config:
                raise Unauthorised(f"there is no file {path} to take credentials from")
            searched.append(f"{name} ({f'nothing for {registry}' if config else 'not there'})")
        return FoundCredentials(None, tuple(searched), tuple(warnings))

    def _config(self, path: Path) -> DockerConfig | None:
        if path not in self._configs:
            try:
                self._configs[path] = DockerConfig.read(path)
            except EntryWrong as error:
                self._configs[path] = error
        if isinstance(config := self._configs[path], EntryWrong):
            raise config
        return config

    def _run_helper(self, name: str, server: str) -> HelperCredentials | None:
        key = name, server
        if key not in self._helper_results:
            try:
                self._helper_results[key] = run_helper(name, server, self._environ)
            except HelperFailed as error:
                self._helper_results[key] = error
        if isinstance(result := self._helper_results[key], HelperFailed):
            raise result
        return result

    def files(self) -> Iterator[AuthFile]:
        """The files to search, in order."""
        for path in self._auth_files:
            yield AuthFile(path, str(path), True)
        environ = self._environ
        if given := environ.get("REGISTRY_AUTH_FILE"):
            yield AuthFile(Path(given), f"REGISTRY_AUTH_FILE={given}", False)
        home = Path(environ.get("HOME") or os.path.expanduser("~"))
        if given := environ.get("DOCKER_CONFIG"):
            yield AuthFile(Path(given, "config.json"), f"DOCKER_CONFIG={given}", False)
        else:
            yield AuthFile(home / ".docker/config.json", str(home / ".docker/config.json"), False)
            yield AuthFile(home / ".dockercfg", str(home / ".dockercfg"), False)
        # containers-auth.json(5)
        runtime = environ.get("XDG_RUNTIME_DIR")
        directories = (
            Path(runtime, "containers") if runtime else Path("/run/containers", str(os.getuid())),
            Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "containers"),
        )
        for directory in directories:
            yield AuthFile(directory / "auth.json", str(directory / "auth.json"), False)


def _from_table(where: str, table: RegistryConfig, environ: Mapping[str, str], base: Path) -> Credentials:
    """The credentials of a `[registries]` table. Raises Unauthorised."""
    if not table.username:
        raise Unauthorised(f"{where}: a password without username")
    if ":" in table.username:
        raise Unauthorised(f"{where}: username: must not contain a colon")
    if bool(table.password_file) == bool(table.password_env):
        raise Unauthorised(f"{where}: username needs one of password_file and password_env")
    if table.password_env:
        where += f': password_env = "{table.password_env}"'
        password = environ.get(table.password_env)
        if password is None:
            raise Unauthorised(f"{where}: the gateway's environment has no such variable")
    else:
        where += f': password_file = "{table.password_file}"'
        password = _read_password(where, base / str(table.password_file))
    password = password.rstrip("\r\n")
    if not password:
        raise Unauthorised(f"{where}: is empty")
    return Credentials(table.username, password)


def _read_password(where: str, path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # a pipe has no end
            raise Unauthorised(f"{where}: {path} is not a file")
        with path.open("rb") as file:
            data = file.read(MAX_PASSWORD + 1)
        if len(data) > MAX_PASSWORD:
            raise Unauthorised(f"{where}: {path} is larger than {MAX_PASSWORD // 1024} KiB")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise Unauthorised(f"{where}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Unauthorised(f"{where}: {path} is not UTF-8 text") from None
