"""Docker's config.json, valid and malformed."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from wagi_gateway.sources.oci.credential_helper import HelperCredentials, HelperFailed
from wagi_gateway.sources.oci.docker_config import MAX_FILE, DockerConfig, EntryWrong
from wagi_gateway.sources.oci.endpoint import Credentials

SECRET = "s3cr3t"  # what no text may hold


def basic(username: str, password: str = SECRET) -> dict[str, str]:
    """An entry as `docker login` writes it."""
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def no_helper(name: str, server: str) -> None:
    raise AssertionError(f"{name} was asked for {server}")


def find(tmp_path: Path, document: object, name: str = "ghcr.io/team/hello") -> Credentials | None:
    """The credentials for an image in a file with this content."""
    (tmp_path / "config.json").write_text(json.dumps(document))
    config = DockerConfig.read(tmp_path / "config.json")
    assert config
    registry, _, repository = name.partition("/")
    return config.find(registry, repository, no_helper)


KEYS = {
    "host": ("ghcr.io", "ghcr.io/team/hello", True),
    "another host": ("ghcr.io", "quay.io/team/hello", False),
    "host that begins alike": ("ghcr.io", "ghcr.io.evil.example/team/hello", False),
    "port": ("localhost:5000", "localhost:5000/hello", True),
    "another port": ("localhost:5000", "localhost:5001/hello", False),
    "no port": ("localhost", "localhost:5000/hello", False),
    "scheme": ("https://ghcr.io", "ghcr.io/team/hello", True),
    "scheme and version": ("https://ghcr.io/v2/", "ghcr.io/team/hello", True),
    "upper case": ("GHCR.io", "ghcr.io/team/hello", True),
    "path": ("ghcr.io/team", "ghcr.io/team/hello", True),
    "whole name": ("ghcr.io/team/hello", "ghcr.io/team/hello", True),
    "another path": ("ghcr.io/team", "ghcr.io/other/hello", False),
    "path that begins alike": ("ghcr.io/te", "ghcr.io/team/hello", False),
    "port and path": ("localhost:5000/team", "localhost:5000/team/hello", True),
    "Docker Hub's key": ("https://index.docker.io/v1/", "docker.io/library/hello", True),
    "Docker Hub's name": ("docker.io", "docker.io/library/hello", True),
    "Docker Hub's host": ("registry-1.docker.io", "docker.io/library/hello", True),
    "a namespace called v1": ("ghcr.io/v1", "ghcr.io/team/hello", False),
    "the path of a URL, as Docker reads it": ("https://ghcr.io/other", "ghcr.io/team/hello", True),
    "wildcard, as a kubelet reads it": ("*.corp.example", "r.corp.example/hello", True),
    "Docker Hub's website": ("https://index.docker.io/v1/access-token", "docker.io/library/hello", False),
}


@pytest.mark.parametrize(("key", "name", "is_found"), KEYS.values(), ids=KEYS)
def test_which_entry_is_for_an_image(tmp_path: Path, key: str, name: str, is_found: bool) -> None:
    expected = Credentials("user", SECRET) if is_found else None
    assert find(tmp_path, {"auths": {key: basic("user")}}, name) == expected


def test_the_most_specific_entry_wins(tmp_path: Path) -> None:
    names = ("ghcr.io", "ghcr.io/team", "https://ghcr.io/v1/")
    document = {"auths": {name: basic(name.replace(":", "")) for name in names}}
    for name, username in (
        ("ghcr.io/team/hello", "ghcr.io/team"),
        ("ghcr.io/other", "ghcr.io"),
    ):
        assert find(tmp_path, document, name) == Credentials(username, SECRET)


ENTRIES: dict[str, tuple[object, Credentials | None]] = {
    "auth": (basic("user"), Credentials("user", SECRET)),
    "a colon in the password": (basic("user", "a:b"), Credentials("user", "a:b")),
    "padded by old versions": (basic("user", "a\0\0"), Credentials("user", "a")),
    "in clear": ({"username": "user", "password": SECRET}, Credentials("user", SECRET)),
    "auth wins": ({**basic("user"), "username": "x", "password": "y"}, Credentials("user", SECRET)),
    "identity token": (
        {**basic("00000000", ""), "identitytoken": SECRET},
        Credentials("00000000", identity_token=SECRET),
    ),
    "registry token": ({"registrytoken": SECRET}, Credentials(registry_token=SECRET)),
    "empty, after docker login with a store": ({}, None),
    "e-mail only": ({"email": "me@example.com", "auth": ""}, None),
    "null": (None, None),
    "not UTF-8, which skopeo sends as it is": (
        {"auth": base64.b64encode(b"\xff:\xff").decode()},
        Credentials("\udcff", "\udcff"),
    ),
    "line breaks, as Go reads it": ({"auth": "dXNl\r\ncjpz\nM2NyM3Q=\n"}, Credentials("user", SECRET)),
    "spaces": ({"auth": " dXNl cjpzM2NyM3Q= "}, Credentials("user", SECRET)),
    "without padding, as a kubelet reads it": ({"auth": "dXNlcjpzM2NyM3Q"}, Credentials("user", SECRET)),
    "only white space": ({"auth": " \n", "username": "user", "password": SECRET}, Credentials("user", SECRET)),
    "other letters, as Go reads it": ({"Username": "user", "PASSWORD": SECRET}, Credentials("user", SECRET)),
    "other letters beside the exact ones": (
        {"Username": "x", "username": "user", "Password": SECRET},
        Credentials("user", SECRET),
    ),
    "password without user name": ({"auth": base64.b64encode(f":{SECRET}".encode()).decode()}, Credentials("", SECRET)),
}


@pytest.mark.parametrize(("entry", "credentials"), ENTRIES.values(), ids=ENTRIES)
def test_what_an_entry_holds(tmp_path: Path, entry: object, credentials: Credentials | None) -> None:
    assert find(tmp_path, {"auths": {"ghcr.io": entry}}) == credentials


WRONG_ENTRIES = {
    "not base64": ({"auth": f"{SECRET}!"}, '"ghcr.io".auth is not base64 of USER:PASSWORD'),
    "no colon": ({"auth": base64.b64encode(SECRET.encode()).decode()}, ".auth is not base64 of USER:PASSWORD"),
    "a lone surrogate": ({"username": "\ud800"}, ".username is not a text"),
    "number": ({"auth": 7}, ".auth is not a text"),
    "text": (SECRET, 'auths."ghcr.io" is not an object'),
    "token with a line break": ({"registrytoken": f"{SECRET}\n"}, ".registrytoken is not a token"),
}


@pytest.mark.parametrize(("entry", "text"), WRONG_ENTRIES.values(), ids=WRONG_ENTRIES)
def test_an_entry_that_is_wrong(tmp_path: Path, entry: object, text: str) -> None:
    with pytest.raises(EntryWrong) as caught:
        find(tmp_path, {"auths": {"ghcr.io": entry}})
    assert text in str(caught.value)
    assert str(tmp_path / "config.json") in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("entry", [7, None, "x", {"auth": "!"}])
def test_what_is_wrong_elsewhere_does_not_matter(tmp_path: Path, entry: object) -> None:
    document = {"auths": {"quay.io": entry, "ghcr.io": basic("user")}, "credHelpers": {"quay.io": entry}, "psFormat": 7}
    assert find(tmp_path, document) == Credentials("user", SECRET)


@pytest.mark.parametrize("form", ["\ufeff{}", "{}\n}", " {} {}"], ids=["byte order mark", "brace", "two objects"])
def test_what_stands_around_the_object(tmp_path: Path, form: str) -> None:
    (tmp_path / "config.json").write_text(form.replace("{}", json.dumps({"Auths": {"ghcr.io": basic("user")}}), 1))
    config = DockerConfig.read(tmp_path / "config.json")
    assert config
    assert config.find("ghcr.io", "hello", no_helper) == Credentials("user", SECRET)


def test_an_empty_entry_does_not_hide_another_one(tmp_path: Path) -> None:
    document = {"auths": {"ghcr.io/team": {}, "ghcr.io": None, "https://ghcr.io/v2/": basic("user")}}
    assert find(tmp_path, document) == Credentials("user", SECRET)


def test_the_old_dockercfg(tmp_path: Path) -> None:
    document = {"https://index.docker.io/v1/": {**basic("user"), "email": "me@example.com"}}
    assert find(tmp_path, document, "docker.io/library/hello") == Credentials("user", SECRET)


HELPERS = {
    "of its own": ({"credHelpers": {"ghcr.io": "one"}, "credsStore": "two"}, "ghcr.io/hello", ("one", "ghcr.io")),
    "store": ({"credHelpers": {"ghcr.io": "one"}, "credsStore": "two"}, "quay.io/hello", ("two", "quay.io")),
    "store after an empty entry": ({"auths": {"ghcr.io": {}}, "credsStore": "two"}, "ghcr.io/a", ("two", "ghcr.io")),
    "helper before an entry": (
        {"auths": {"ghcr.io": basic("x")}, "credHelpers": {"ghcr.io": "one"}},
        "ghcr.io/hello",
        ("one", "ghcr.io"),
    ),
    "Docker Hub": (
        {"credHelpers": {"https://index.docker.io/v1/": "one"}},
        "docker.io/library/hello",
        ("one", "https://index.docker.io/v1/"),
    ),
}


@pytest.mark.parametrize(("document", "name", "asked"), HELPERS.values(), ids=HELPERS)
def test_the_helper_and_its_input(tmp_path: Path, document: object, name: str, asked: tuple[str, str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(document))
    config = DockerConfig.read(tmp_path / "config.json")
    assert config
    calls: list[tuple[str, str]] = []

    def run_helper(name: str, server: str) -> HelperCredentials:
        calls.append((name, server))
        return HelperCredentials("user", SECRET)

    registry, _, repository = name.partition("/")
    assert config.find(registry, repository, run_helper) == Credentials("user", SECRET)
    assert calls == [asked]
    assert config.find(registry, repository, lambda *_: None) is None
    assert config.find(registry, repository, lambda *_: HelperCredentials("<token>", SECRET)) == Credentials(
        identity_token=SECRET
    )


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_a_helper_that_fails_is_named_with_its_key(tmp_path: Path, key: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({key: {"ghcr.io": "test"} if key == "credHelpers" else "test"}))
    config = DockerConfig.read(tmp_path / "config.json")
    assert config

    def fail(_name: str, _server: str) -> None:
        raise HelperFailed("it broke")

    with pytest.raises(EntryWrong, match=rf"config\.json: {key}.*: it broke$"):
        config.find("ghcr.io", "hello", fail)


WRONG_FILES = {
    "not JSON": (b"{", "is not a JSON object"),
    "not UTF-8": (b"\xff", "is not a JSON object"),
    "a list": (b"[]", "is not a JSON object"),
    "deep": (b"[" * 100_000, "is not a JSON object"),
    "huge": (b" " * (MAX_FILE + 1), "is larger than 1 MiB"),
    "a number after a byte order mark": (b"\xef\xbb\xbf7", "is not a JSON object"),
    "auths a list": (b'{"auths": [1]}', "auths is not an object"),
    "helpers a text": (b'{"credHelpers": "x"}', "credHelpers is not an object"),
}


@pytest.mark.parametrize(("content", "text"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_file_that_is_wrong(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(EntryWrong, match=text):
        DockerConfig.read(tmp_path / "config.json")


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(EntryWrong, match="is not a file"):
        DockerConfig.read(tmp_path / "config.json")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert DockerConfig.read(tmp_path / "config.json") is None
    assert DockerConfig.read(tmp_path / "file/config.json") is None


@pytest.mark.parametrize(
    "content",
    [b"{}", b"", b" \n", b"\xef\xbb\xbf", b'{"HttpHeaders": {"x": "y"}}', b'{"auths": null, "credHelpers": null}'],
)
def test_a_file_without_credentials(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    config = DockerConfig.read(tmp_path / "config.json")
    assert config
    assert config.find("ghcr.io", "hello", no_helper) is None
