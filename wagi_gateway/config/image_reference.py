"""Image references: `registry/repository[:tag][@digest]`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

DOCKER_HUB = "docker.io"
DOCKER_HUB_HOST = "registry-1.docker.io"
"""The host of Docker Hub's registry."""
_NOTATION = "registry/repository:tag or registry/repository@sha256:…, for example ghcr.io/team/hello:1"
_HOST = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::\d{1,5})?"
)
# OCI distribution specification, "Pulling manifests"; 255 is the bound of the reference implementation.
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_MAX_REPOSITORY = 255


@dataclass(frozen=True, slots=True)
class ImageReference:
    """The name of a module in an OCI registry.

    >>> str(ImageReference.parse("oci://ghcr.io/team/hello"))
    'ghcr.io/team/hello:latest'
    >>> str(ImageReference.parse("oci:hello:1"))  # as Docker reads it
    'docker.io/library/hello:1'
    """

    registry: str
    """`host[:port]` in lower case."""
    repository: str
    tag: str | None = None
    """None if absent; then `latest`, unless there is a digest."""
    digest: str | None = None
    """`sha256:…` or `sha512:…`; has precedence over a tag."""

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Parses `oci:X`, `oci://X` or `X`. Raises ValueError, whose text names the mistake and the right notation."""
        name = text
        if name[:4].lower() == "oci:":
            name = name[4:].removeprefix("//")
        name, at, digest = name.partition("@")
        if at and not is_digest(digest):
            # The message leaves the text out, which may hold a password.
            raise ValueError(
                "what follows '@' is no digest, sha256: and 64 lower-case hex digits; a user name and password have no "
                f"place here; write {_NOTATION}"
            )
        registry, repository = _split(name)
        repository, colon, tag = repository.partition(":")
        if colon and not _TAG.fullmatch(tag):
            raise ValueError(
                f"{text!r}: a tag is 1 to 128 letters, digits, '_', '.' and '-', and begins with none of the last two; "
                f"write {_NOTATION}"
            )
        if not _HOST.fullmatch(registry):
            raise ValueError(f"{text!r}: {registry!r} is not the host[:port] of a registry; write {_NOTATION}")
        if repository != repository.lower():
            raise ValueError(f"{text!r}: the name of a repository has no upper-case letters; write {_NOTATION}")
        if registry == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        if not _REPOSITORY.fullmatch(repository) or len(repository) > _MAX_REPOSITORY:
            raise ValueError(f"{text!r} is not the name of a module in a registry; write {_NOTATION}")
        return cls(registry, repository, tag or None, digest or None)

    def __str__(self) -> str:
        tag = self.tag or (None if self.digest else "latest")
        scheme = "oci://" if self.registry.startswith("oci:") else ""  # a registry host named "oci"
        return f"{scheme}{self.name}{f':{tag}' if tag else ''}{f'@{self.digest}' if self.digest else ''}"

    @property
    def name(self) -> str:
        """`registry/repository`."""
        return f"{self.registry}/{self.repository}"

    @property
    def version(self) -> str:
        """The digest, else the tag, else `latest`: the reference in a manifest's URL."""
        return self.digest or self.tag or "latest"

    def default_policy(self) -> Literal["always", "if-not-present"]:
        """Kubernetes' default imagePullPolicy: `always` for the tag `latest`, else `if-not-present`."""
        return "always" if self.version == "latest" else "if-not-present"

    def with_digest(self, digest: str) -> ImageReference:
        """The reference with another digest."""
        return replace(self, digest=digest)


def is_digest(text: str) -> bool:
    """Whether a text is a digest of a supported algorithm: SHA-256 or SHA-512, in lower-case hex."""
    return _DIGEST.fullmatch(text) is not None


def check_registry(text: str) -> str:
    """The text, a registry's HOST[:PORT]. Raises ValueError, without the text, which may hold a password."""
    return _checked(text, text, "", "HOST[:PORT]", "ghcr.io")


def check_mirror(text: str) -> str:
    """The text, a mirror's HOST[:PORT][/PREFIX]. Raises ValueError, without the text, which may hold a password."""
    host, _, prefix = text.rstrip("/").partition("/")
    return _checked(text, host, prefix, "HOST[:PORT][/PREFIX]", "mirror.example.com/hub")


def _checked(text: str, host: str, prefix: str, form: str, example: str) -> str:
    if _HOST.fullmatch(host.lower()) and (not prefix or _REPOSITORY.fullmatch(prefix)):
        return text
    what = f"is not {form}"
    if "@" in text:
        what += "; a user name and password have no place here, set username and password_file in its own table"
    elif "://" in text:
        what += "; leave the scheme out and set insecure where it is http"
    raise ValueError(f'{what}; write for example "{example}"')


def _split(name: str) -> tuple[str, str]:
    """The registry and the rest of a name."""
    # Docker: the first component is a registry if it has a dot or a colon or is "localhost".
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first.lower() == "localhost"):
        return DOCKER_HUB, name
    registry = first.lower()
    return (DOCKER_HUB if registry == "index.docker.io" else registry), rest
