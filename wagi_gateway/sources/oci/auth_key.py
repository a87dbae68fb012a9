"""The keys of `auths` and `credHelpers` in Docker's configuration, and the registry or repositories each is for.

Sources: containers-auth.json(5), Docker's `ConvertToHostname`, and the kubelet's `URLsMatch`
(https://kubernetes.io/docs/concepts/containers/images/#config-json).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from ...config.image_reference import DOCKER_HUB

HUB_KEY = "https://index.docker.io/v1/"
_HUB_ALIASES = {"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
_SESSION_KEYS = {f"{HUB_KEY}access-token", f"{HUB_KEY}refresh-token"}
"""Entries of `docker login` for Docker Hub's website, not for its registry."""


class _AuthKey(NamedTuple):
    key: str
    host: str
    """`host[:port]`, perhaps with wildcards."""
    path: str
    """`/namespace` or `/namespace/repository`, or empty."""
    is_url: bool
    """Whether the key has a scheme, as Docker's server addresses have."""

    @property
    def has_wildcard(self) -> bool:
        return "*" in self.host or "?" in self.host

    @property
    def is_canonical(self) -> bool:
        return self.key == f"{self.host}{self.path}"


def normalised(registry: str) -> str:
    """The host name in lower case; one name for all of Docker Hub's."""
    host = registry.lower()
    return DOCKER_HUB if host in _HUB_ALIASES else host


def matching_keys(keys: Iterable[str], registry: str, repository: str) -> Iterator[str]:
    """The keys for a repository, the most specific first: of a part of the registry, of its host, of a pattern for it.

    >>> list(matching_keys(["*.example.com", "https://r.example.com/", "r.example.com/x"], "r.example.com", "x/hello"))
    ['r.example.com/x', 'https://r.example.com/', '*.example.com']
    """
    parsed = [_parse(key) for key in keys if key not in _SESSION_KEYS]
    parsed.sort(key=lambda one: (one.path, one.is_canonical, one.key), reverse=True)  # as the kubelet sorts
    paths = set(_prefixes(f"/{repository}"))
    exact = [one for one in parsed if one.host == registry]
    inside = [one for one in exact if one.path in paths]
    # Docker and skopeo ignore the path of a URL.
    others = [one for one in exact if one.is_url and one.path not in paths]
    patterns = [one for one in parsed if one.has_wildcard and one.path in paths and _matches(one.host, registry)]
    return (one.key for one in (*inside, *others, *patterns))


def _parse(key: str) -> _AuthKey:
    name, schemes = re.subn(r"^https?://", "", key)
    # Docker's server addresses end in the version of the API: a namespace may be called v1.
    name = re.sub(r"/v[12]/?$" if schemes else r"/v[12]/$", "", name).rstrip("/")
    host, slash, path = name.partition("/")
    return _AuthKey(key, normalised(host), slash + path, bool(schemes))


def _prefixes(path: str) -> Iterator[str]:
    """`/a/b`, `/a` and the empty path."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield ""


def _matches(pattern: str, registry: str) -> bool:
    """Whether a pattern is for a registry: the same port, as many labels, and a match for each label."""
    host, _, port = pattern.partition(":")
    own, _, own_port = registry.partition(":")
    labels, own_labels = host.split("."), own.split(".")
    return (
        port == own_port
        and len(labels) == len(own_labels)
        and all(fnmatchcase(label, one) for label, one in zip(own_labels, labels, strict=True))
    )
