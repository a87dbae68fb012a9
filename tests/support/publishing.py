"""Modules in registries, for tests of the whole program as a user with an empty home directory."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from pathlib import Path

import pytest
import wasmtime
from typer.testing import CliRunner

from tests.support import guests
from tests.support.registry import PASSWORD, USERNAME, Registry
from wagi_gateway.cli.main import app
from wagi_gateway.config.image_reference import ImageReference
from wagi_gateway.config.settings import RegistryConfig
from wagi_gateway.sources.oci.credentials import CredentialSource
from wagi_gateway.sources.oci.puller import Puller
from wagi_gateway.sources.oci.store import Store

SECRETS = (PASSWORD, "dXNlcjpjb3JyZWN0IGhvcnNl")
"""The password, and its Base64 forms in a header and in a config.json."""


def live_alone(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """An empty home directory, and an environment without proxies and logins, for every started process."""
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for scheme in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)


def says(text: str) -> str:
    """A guest that responds with a text."""
    return guests.says(guests.CONTENT_TYPE + text.encode())


def binary(wat: str) -> bytes:
    """A guest in binary form."""
    return bytes(wasmtime.wat2wasm(wat))


def publish(registry: Registry, name: str, module: str | bytes | Path) -> str:
    """Pushes a module (WAT, bytes or a file) as `name`, such as `team/hello:1`; returns its manifest's digest."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        data = module.read_bytes() if isinstance(module, Path) else module
        data = binary(data) if isinstance(data, str) else data
        (directory / "password").write_text(PASSWORD)
        ca_file = str(registry.ca_file) if registry.ca_file else None
        login = {"ca_file": ca_file, "username": USERNAME, "password_file": "password"} if ca_file else {}
        tables = {registry.address: RegistryConfig.model_validate(login)}
        puller = Puller(Store(directory / "store"), tables, CredentialSource([], {}, tables, directory), directory)
        return puller.push(data, "pushed.wasm", ImageReference.parse(f"{registry.address}/{name}"), {})


def digest_of(module: bytes) -> str:
    """The digest of a module as `inspect` prints it."""
    return f"sha256:{hashlib.sha256(module).hexdigest()}"


def run(*arguments: str | Path, cwd: Path, code: int = 0, environment: dict[str, str] | None = None) -> tuple[str, str]:
    """Runs a command; returns both outputs, and fails if they hold a secret or the exit code is another one.

    The command runs in this process, which is thirty times as fast as a new one.
    """
    with contextlib.chdir(cwd):
        result = CliRunner().invoke(app, [*map(str, arguments)], env=environment)
    output = result.stdout + result.stderr
    if not isinstance(result.exception, SystemExit | None):
        raise result.exception
    assert result.exit_code == code, output
    assert [secret for secret in SECRETS if secret in output] == []
    return result.stdout, result.stderr
