"""The search for credentials: files, their order, and the message without a result."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from tests.support.credential_helper import helper
from wagi_gateway.config.settings import RegistryConfig
from wagi_gateway.sources.oci.credentials import MAX_PASSWORD, CredentialSource
from wagi_gateway.sources.oci.endpoint import Credentials
from wagi_gateway.sources.oci.errors import Unauthorised

SECRET = "s3cr3t"  # what no text may hold


def write(path: Path, username: str, host: str = "ghcr.io") -> Path:
    """A file with one entry."""
    path.parent.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"{username}:{SECRET}".encode()).decode()
    path.write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return path


def environment(home: Path) -> dict[str, str]:
    """An environment in which every searched path has a file, with its path as the user name."""
    write(home / "given.json", "REGISTRY_AUTH_FILE")
    write(home / "docker/config.json", "DOCKER_CONFIG")
    write(home / ".docker/config.json", "~/.docker")
    write(home / ".dockercfg", "~/.dockercfg")
    write(home / "run/containers/auth.json", "XDG_RUNTIME_DIR")
    write(home / ".config/containers/auth.json", "~/.config")
    return {
        "REGISTRY_AUTH_FILE": str(home / "given.json"),
        "DOCKER_CONFIG": str(home / "docker"),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "HOME": str(home),
        "PATH": os.defpath,
    }


def username(source: CredentialSource) -> str | None:
    """The user name of the search's result."""
    found = source.find("ghcr.io", "team/hello").credentials
    return found.username if found else None


def test_the_order_of_places(tmp_path: Path) -> None:
    environ = environment(tmp_path)
    table = {"ghcr.io": RegistryConfig(username="[registries]", password_env="PASSWORD")}
    named = [write(tmp_path / "one.json", "elsewhere", "quay.io"), write(tmp_path / "two.json", "--authfile")]
    given = environ | {"PASSWORD": SECRET}
    assert username(CredentialSource(named, given, table, tmp_path)) == "[registries]"
    assert username(CredentialSource(named, environ, {}, tmp_path)) == "--authfile"
    order = []
    places = ("given.json", "docker/config.json", "run/containers/auth.json", ".config/containers/auth.json")
    for place in places:
        order.append(username(CredentialSource([], environ, {}, tmp_path)))
        (tmp_path / place).unlink()
    assert order == ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "~/.config"]
    assert username(CredentialSource([], environ, {}, tmp_path)) is None, "DOCKER_CONFIG replaces ~/.docker"
    del environ["DOCKER_CONFIG"]
    assert username(CredentialSource([], environ, {}, tmp_path)) == "~/.docker"
    (tmp_path / ".docker/config.json").unlink()
    assert username(CredentialSource([], environ, {}, tmp_path)) == "~/.dockercfg"


def test_where_credentials_come_from(tmp_path: Path) -> None:
    environ = environment(tmp_path)
    found = CredentialSource([], environ, {}, tmp_path).find("ghcr.io", "team/hello")
    assert found.searched == (f"REGISTRY_AUTH_FILE={tmp_path}/given.json",)


def test_where_credentials_were_looked_for(tmp_path: Path) -> None:
    named = write(tmp_path / "named.json", "x", "quay.io")
    environ = {"HOME": str(tmp_path), "REGISTRY_AUTH_FILE": "/nowhere"}
    found = CredentialSource([named], environ, {}, tmp_path).find("ghcr.io", "team/hello")
    assert found.credentials is None
    assert found.searched == (
        '[registries."ghcr.io"] (no username)',
        f"{named} (nothing for ghcr.io)",
        "REGISTRY_AUTH_FILE=/nowhere (not there)",
        f"{tmp_path}/.docker/config.json (not there)",
        f"{tmp_path}/.dockercfg (not there)",
        f"/run/containers/{os.getuid()}/auth.json (not there)",
        f"{tmp_path}/.config/containers/auth.json (not there)",
    )


def test_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    assert CredentialSource([], {}, {}, tmp_path).find("no.such.registry.example", "hello").credentials is None


def test_a_file_that_is_wrong_does_not_hide_the_others(tmp_path: Path) -> None:
    environ = environment(tmp_path)
    (tmp_path / "given.json").write_text(SECRET)
    found = CredentialSource([], environ, {}, tmp_path).find("ghcr.io", "team/hello")
    assert found.credentials == Credentials("DOCKER_CONFIG", SECRET)
    assert found.warnings == (f"{tmp_path}/given.json is not a JSON object; it is not used",)


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, "there is no file"), ("x", "is not a JSON object"), ('{"auths": {"ghcr.io": 7}}', "is not an object")],
    ids=["missing", "not JSON", "a wrong entry"],
)
def test_a_file_the_user_named_has_to_be_right(tmp_path: Path, content: str | None, text: str) -> None:
    if content:
        (tmp_path / "named.json").write_text(content)
    source = CredentialSource([tmp_path / "named.json"], {"HOME": str(tmp_path)}, {}, tmp_path)
    with pytest.raises(Unauthorised, match=text):
        source.find("ghcr.io", "team/hello")


def test_a_helper_runs_once(tmp_path: Path) -> None:
    environ = helper(tmp_path, f"""echo x >> {tmp_path}/calls; echo '{{"Username": "u", "Secret": "{SECRET}"}}'""")
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"credsStore": "test"}')
    source = CredentialSource([], environ, {}, tmp_path)
    for repository in ("one", "two", "one"):
        assert source.find("ghcr.io", repository).credentials == Credentials("u", SECRET)
    assert (tmp_path / "calls").read_text() == "x\n"


def test_a_helper_that_fails_is_a_warning(tmp_path: Path) -> None:
    environ = helper(tmp_path, f"echo x >> {tmp_path}/calls; echo {SECRET}")
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text('{"credHelpers": {"ghcr.io": "test"}}')
    source = CredentialSource([], environ, {}, tmp_path)
    for found in (source.find("ghcr.io", "one"), source.find("ghcr.io", "two")):
        assert found.credentials is None
        (warning,) = found.warnings
        assert 'config.json: credHelpers."ghcr.io": docker-credential-test printed something else' in warning
        assert SECRET not in repr(found)
    assert (tmp_path / "calls").read_text() == "x\n"


PASSWORDS = {
    "as it is": (b"s3cr3t", SECRET),
    "newline": (b"s3cr3t\n", SECRET),
    "newline of Windows": (b"s3cr3t\r\n", SECRET),
    "byte order mark of Windows": (b"\xef\xbb\xbfs3cr3t\r\n", SECRET),
    "blanks are part of it": (b" s3cr3t \n", " s3cr3t "),
    "not ASCII": ("pässwörd\n".encode(), "pässwörd"),
}


@pytest.mark.parametrize(("content", "password"), PASSWORDS.values(), ids=PASSWORDS)
def test_a_password_from_a_file_beside_modules_toml(tmp_path: Path, content: bytes, password: str) -> None:
    (tmp_path / "password").write_bytes(content)
    table = RegistryConfig(username="user", password_file="password")
    found = CredentialSource([], {}, {"ghcr.io": table}, tmp_path).find("ghcr.io", "team/hello")
    assert found.credentials == Credentials("user", password)
    assert found.searched == ('[registries."ghcr.io"]',)


def test_docker_hub_has_one_table(tmp_path: Path) -> None:
    table = RegistryConfig(username="user", password_env="X")
    source = CredentialSource([], {"X": SECRET}, {"index.docker.io": table}, tmp_path)
    assert source.find("docker.io", "library/hello").credentials == Credentials("user", SECRET)


WRONG_TABLES = {
    "missing variable": (
        {"username": "u", "password_env": "NOT_SET"},
        'password_env = "NOT_SET": the gateway\'s environment has no such variable',
    ),
    "empty variable": ({"username": "u", "password_env": "EMPTY"}, 'password_env = "EMPTY": is empty'),
    "missing file": ({"username": "u", "password_file": "none"}, "/none cannot be read: No such file or directory"),
    "empty file": ({"username": "u", "password_file": "empty"}, 'password_file = "empty": is empty'),
    "huge file": ({"username": "u", "password_file": "huge"}, "/huge is larger than 64 KiB"),
    "not text": ({"username": "u", "password_file": "binary"}, "/binary is not UTF-8 text"),
    "a pipe": ({"username": "u", "password_file": "pipe"}, "/pipe is not a file"),
    "a directory": ({"username": "u", "password_file": "."}, " is not a file"),
    "no password": ({"username": "u"}, "username needs one of password_file and password_env"),
    "two passwords": (
        {"username": "u", "password_file": "huge", "password_env": "EMPTY"},
        "username needs one of password_file and password_env",
    ),
    "no username": ({"password_env": "EMPTY"}, "a password without username"),
    "colon": ({"username": "a:b", "password_env": "EMPTY"}, "username: must not contain a colon"),
}


@pytest.mark.parametrize(("table", "text"), WRONG_TABLES.values(), ids=WRONG_TABLES)
def test_a_table_that_is_wrong(tmp_path: Path, table: dict[str, str], text: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "huge").write_text(SECRET + "x" * MAX_PASSWORD)
    (tmp_path / "binary").write_bytes(b"s3cr3t\xff")
    os.mkfifo(tmp_path / "pipe")
    config = RegistryConfig.model_validate(table)
    with pytest.raises(Unauthorised) as caught:
        CredentialSource([], {"EMPTY": ""}, {"ghcr.io": config}, tmp_path).find("ghcr.io", "team/hello")
    assert str(caught.value).startswith('[registries."ghcr.io"]: ')
    assert text in str(caught.value)
    assert SECRET not in str(caught.value)
