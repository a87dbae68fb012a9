"""The challenges of a WWW-Authenticate header (RFC 9110 section 11.6.1), and the scope of a bearer token.

Source: distribution's "Token Authentication Specification" and "Token Scope Documentation".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_CHALLENGE = 8 << 10
"""Bytes of a WWW-Authenticate header; the large registries send fewer than 300."""
# An authentication scheme, or with a value one of its parameters (RFC 9110 section 11.2). Possessive quantifiers (`++`,
# `*+`) keep the time proportional to the header's length.
_CHALLENGE = re.compile(r'([\w-]++)(?:\s*+=\s*+("(?:[^"\\]|\\.)*+"|[^\s",]++))?+')
# type:name:actions, with an optional class after the type and host[:port]/ before the name.
_SCOPE = re.compile(
    r"[a-z0-9]++(?:\([a-z0-9]++\))?+:"
    r"(?P<name>(?:[A-Za-z0-9.-]++(?::\d++)?+/)?+[a-z0-9]++(?:[._/-]++[a-z0-9]++)*+):"
    r"(?:\*|[a-z]++(?:,[a-z]++)*+)"
)


def read_challenges(header: str) -> dict[str, dict[str, str]]:
    """The parameters of each authentication scheme, in lower case; the first challenge of a scheme counts.

    >>> read_challenges('Basic realm="x", Bearer realm="https://t/",scope=repository:x:pull')
    {'basic': {'realm': 'x'}, 'bearer': {'realm': 'https://t/', 'scope': 'repository:x:pull'}}
    """
    challenges: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for name, value in _CHALLENGE.findall(header):
        if value:
            text = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
            current.setdefault(name.lower(), text)
        elif name[0].isalpha():
            current = {}
            challenges.setdefault(name.lower(), current)
    return challenges


def choose_scopes(stated: str, repository: str, actions: str) -> Sequence[str]:
    """The scopes to ask a token for: those of the challenge, else the one that Docker and containerd would ask for.

    A scope for another name alone is used, because a registry may know a repository by another name than its clients
    do; of several scopes those for the repository are used. A malformed scope is not: token servers answer `::` with a
    token that is good for nothing.

    >>> choose_scopes("repository:team/hello:pull,push", "team/hello", "pull")
    ['repository:team/hello:pull,push']
    >>> choose_scopes("::", "team/hello", "pull")
    ['repository:team/hello:pull']
    """
    scopes = {scope: match["name"] for scope in stated.split() if (match := _SCOPE.fullmatch(scope))}
    own = [scope for scope, name in scopes.items() if name == repository]
    return own or (list(scopes) if len(scopes) == 1 else [f"repository:{repository}:{actions}"])
