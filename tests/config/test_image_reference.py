"""Image references: the accepted notations, their parts, and refused texts."""

from __future__ import annotations

import re

import pytest

from wagi_gateway.config.image_reference import ImageReference, check_mirror, check_registry, is_digest

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("ghcr.io/team/hello:1", "ghcr.io", "team/hello", "1", None),
        ("oci:ghcr.io/team/hello:1", "ghcr.io", "team/hello", "1", None),
        ("oci://ghcr.io/team/hello:1", "ghcr.io", "team/hello", "1", None),
        ("OCI:ghcr.io/team/hello", "ghcr.io", "team/hello", None, None),
        ("hello", "docker.io", "library/hello", None, None),
        ("oci:hello:1", "docker.io", "library/hello", "1", None),
        ("oci:foo/bar:1", "docker.io", "foo/bar", "1", None),
        ("docker.io/hello", "docker.io", "library/hello", None, None),
        ("docker.io/team/hello", "docker.io", "team/hello", None, None),
        ("index.docker.io/team/hello", "docker.io", "team/hello", None, None),
        ("localhost/hello", "localhost", "hello", None, None),
        ("localhost:5000/hello:1", "localhost:5000", "hello", "1", None),
        ("registry:5000/a/b/c:1", "registry:5000", "a/b/c", "1", None),
        ("127.0.0.1:5000/hello", "127.0.0.1:5000", "hello", None, None),
        ("[::1]:5000/hello:1", "[::1]:5000", "hello", "1", None),
        ("webassembly.azurecr.io/hello-wasm:v1", "webassembly.azurecr.io", "hello-wasm", "v1", None),
        ("GHCR.io/team/hello", "ghcr.io", "team/hello", None, None),
        (f"ghcr.io/team/hello@{DIGEST}", "ghcr.io", "team/hello", None, DIGEST),
        (f"ghcr.io/team/hello:1@{DIGEST}", "ghcr.io", "team/hello", "1", DIGEST),
        (f"r.io/a@sha512:{HEX * 2}", "r.io", "a", None, f"sha512:{HEX * 2}"),
        ("r.io/a.b/c_d/e__f/g--h:T_a-g.1", "r.io", "a.b/c_d/e__f/g--h", "T_a-g.1", None),
        (f"r.io/a:{'t' * 128}", "r.io", "a", "t" * 128, None),
        (f"r.io/{'a' * 255}", "r.io", "a" * 255, None, None),
    ],
)
def test_parse(text: str, registry: str, repository: str, tag: str | None, digest: str | None) -> None:
    assert ImageReference.parse(text) == ImageReference(registry, repository, tag, digest)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is not the name of a module"),
        ("oci:", "is not the name of a module"),
        ("oci:///hello", "is not the name of a module"),
        ("https://ghcr.io/team/hello", "is not the host[:port]"),
        ("r.io/", "is not the name of a module"),
        ("r.io//a", "is not the name of a module"),
        ("r.io/a//b", "is not the name of a module"),
        ("r.io/a/../b", "is not the name of a module"),
        ("r.io/.a", "is not the name of a module"),
        ("r.io/a___b", "is not the name of a module"),
        ("r.io/a b", "is not the name of a module"),
        ("r.io/a\n", "is not the name of a module"),
        ("r.io/ä", "is not the name of a module"),
        ("r.io/a?x=1", "is not the name of a module"),
        (f"r.io/{'a' * 256}", "is not the name of a module"),
        ("a" * 250, "is not the name of a module"),  # library/ counts
        ("r.io/Team/hello", "no upper-case letters"),
        ("Hello", "no upper-case letters"),
        ("r.io/a:", "a tag is"),
        ("r.io/a:.b", "a tag is"),
        ("r.io/a:1\n", "a tag is"),
        ("r.io/a:\u0661", "a tag is"),
        ("r.io/a:1:2", "a tag is"),
        (f"r.io/a:{'t' * 129}", "a tag is"),
        ("r.io/a@sha256:00", "is no digest"),
        ("r.io/a@", "is no digest"),
        (f"r.io/a@sha256:{HEX.upper()}", "is no digest"),
        (f"r.io/a@md5:{HEX[:32]}", "is no digest"),
        (f"r.io/a@{DIGEST}@{DIGEST}", "is no digest"),
        ("-r.io/a", "is not the host[:port]"),
        ("r..io/a", "is not the host[:port]"),
        ("r.io:port/a", "is not the host[:port]"),
        ("user:password@r.io/a", "is no digest"),
        (f"user:password@r.io/a@{DIGEST}", "is no digest"),
        ("[::1/a:1", "is not the host[:port]"),
    ],
)
def test_what_is_no_reference(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=re.escape(what)) as raised:
        ImageReference.parse(text)
    assert "for example ghcr.io/team/hello:1" in str(raised.value)
    assert "password@" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "canonical", "version", "policy"),
    [
        ("hello", "docker.io/library/hello:latest", "latest", "always"),
        ("oci:r.io/a:latest", "r.io/a:latest", "latest", "always"),
        ("r.io/a:1", "r.io/a:1", "1", "if-not-present"),
        (f"r.io/a@{DIGEST}", f"r.io/a@{DIGEST}", DIGEST, "if-not-present"),
        (f"r.io/a:latest@{DIGEST}", f"r.io/a:latest@{DIGEST}", DIGEST, "if-not-present"),
        ("oci://oci:5000/a:1", "oci://oci:5000/a:1", "1", "if-not-present"),
    ],
)
def test_what_it_stands_for(text: str, canonical: str, version: str, policy: str) -> None:
    reference = ImageReference.parse(text)
    assert (str(reference), reference.version, reference.default_policy()) == (canonical, version, policy)
    assert str(ImageReference.parse(canonical)) == canonical


def test_pinned() -> None:
    assert str(ImageReference.parse("r.io/a:1").with_digest(DIGEST)) == f"r.io/a:1@{DIGEST}"


@pytest.mark.parametrize("text", [DIGEST + "\n", "sha256:" + "g" * 64, "sha512:" + HEX, "", HEX])
def test_what_is_no_digest(text: str) -> None:
    assert not is_digest(text)


@pytest.mark.parametrize("text", ["ghcr.io", "GHCR.io", "localhost", "registry:5000", "10.0.0.1:5000", "[::1]:5000"])
def test_hosts(text: str) -> None:
    assert check_registry(text) == check_mirror(text) == text


@pytest.mark.parametrize("text", ["mirror.example.com/hub", "localhost:5000/hub/a_b", "mirror.example.com/hub/"])
def test_mirrors(text: str) -> None:
    assert check_mirror(text) == text
    with pytest.raises(ValueError, match=r'^is not HOST\[:PORT\]; write for example "ghcr\.io"$'):
        check_registry(text)


WRONG_HOSTS = {
    "empty": ("", ""),
    "slash": ("/", ""),
    "two slashes": ("//x", ""),
    "scheme": ("http://host:5000", "leave the scheme out"),
    "port": ("host:http", ""),
    "half an address": ("[::1", ""),
    "newline": ("host\n", ""),
    "password": ("user:SECRET@host", "a user name and password have no place here"),
    "password in a URL": ("https://user:SECRET@host/hub", "a user name and password have no place here"),
    "password in a prefix": ("host/user:SECRET@hub", "a user name and password have no place here"),
    "prefix": ("host/Hub", ""),
    "prefix with dots": ("host/../hub", ""),
}


@pytest.mark.parametrize(("text", "what"), WRONG_HOSTS.values(), ids=WRONG_HOSTS)
def test_what_is_no_host(text: str, what: str) -> None:
    for check in (check_registry, check_mirror):
        with pytest.raises(ValueError, match=r"^is not HOST\[:PORT\]") as raised:
            check(text)
        assert what in str(raised.value)
        assert "SECRET" not in str(raised.value)
