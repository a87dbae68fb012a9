"""References to modules in OCI registries: `registry/repository[:tag][@digest]`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

DOCKER_HUB = "docker.io"
DOCKER_HUB_HOST = "registry-1.docker.io"
"""Where Docker Hub's registry really is."""
_FORMS = "registry/repository:tag or registry/repository@sha256:…, for example ghcr.io/team/hello:1"
_HOST = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::\d{1,5})?"
)
# Distribution specification, "Pulling manifests"; 255 is the bound of its reference implementation.
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_MAX_REPOSITORY = 255


@dataclass(frozen=True, slots=True)
class ImageReference:
    """What a module is called in a registry.

    >>> str(ImageReference.parse("oci://ghcr.io/team/hello"))
    'ghcr.io/team/hello:latest'
    >>> str(ImageReference.parse("oci:hello:1"))  # as Docker reads it
    'docker.io/library/hello:1'
    """

    registry: str
    """`host[:port]` in lower case."""
    repository: str
    tag: str | None = None
    """None where none was written, which means `latest` unless there is a digest."""
    digest: str | None = None
    """`sha256:…` or `sha512:…`; it wins over a tag."""

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Reads `oci:X`, `oci://X` or `X`. Raises ValueError, whose text says what is wrong and what is right."""
        name = text
        if name[:4].lower() == "oci:":
            name = name[4:].removeprefix("//")
        name, at, digest = name.partition("@")
        if at and not is_digest(digest):
            # Without the text: it may be a password.
            raise ValueError(
                "what follows '@' is no digest, sha256: and 64 lower-case hex digits; a user name and password have no "
                f"place here; write {_FORMS}"
            )
        registry, repository = _split(name)
        repository, colon, tag = repository.partition(":")
        if colon and not _TAG.fullmatch(tag):
            raise ValueError(
                f"{text!r}: a tag is 1 to 128 letters, digits, '_', '.' and '-', and begins with none of the last two; "
                f"write {_FORMS}"
            )
        if not _HOST.fullmatch(registry):
            raise ValueError(f"{text!r}: {registry!r} is not the host[:port] of a registry; write {_FORMS}")
        if repository != repository.lower():
            raise ValueError(f"{text!r}: the name of a repository has no upper-case letters; write {_FORMS}")
        if registry == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        if not _REPOSITORY.fullmatch(repository) or len(repository) > _MAX_REPOSITORY:
            raise ValueError(f"{text!r} is not the name of a module in a registry; write {_FORMS}")
        return cls(registry, repository, tag or None, digest or None)

    def __str__(self) -> str:
        tag = self.tag or (None if self.digest else "latest")
        scheme = "oci://" if self.registry.startswith("oci:") else ""  # a host of that name, with its port
        return f"{scheme}{self.name}{f':{tag}' if tag else ''}{f'@{self.digest}' if self.digest else ''}"

    @property
    def name(self) -> str:
        """`registry/repository`."""
        return f"{self.registry}/{self.repository}"

    @property
    def version(self) -> str:
        """What the registry is asked for: the digest, else the tag, else `latest`."""
        return self.digest or self.tag or "latest"

    def default_policy(self) -> Literal["always", "if-not-present"]:
        """Kubernetes' rule: what is called `latest` is asked for anew at each start."""
        return "always" if self.version == "latest" else "if-not-present"

    def with_digest(self, digest: str) -> ImageReference:
        """The same name pinned to a digest."""
        return replace(self, digest=digest)


def is_digest(text: str) -> bool:
    """Whether this is a digest whose algorithm we verify."""
    return _DIGEST.fullmatch(text) is not None


def check_registry(text: str) -> str:
    """The same text if it is HOST[:PORT], else raises ValueError, which does not repeat it: it may hold a password."""
    return _checked(text, text, "", "HOST[:PORT]", "ghcr.io")


def check_mirror(text: str) -> str:
    """The same text if it is HOST[:PORT][/PREFIX], else raises ValueError, which does not repeat it."""
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
    # Docker's rule: the first part is a registry if it looks like a host.
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first.lower() == "localhost"):
        return DOCKER_HUB, name
    registry = first.lower()
    return (DOCKER_HUB if registry == "index.docker.io" else registry), rest
