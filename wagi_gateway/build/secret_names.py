"""Names of variables and header fields whose values are secrets."""

from __future__ import annotations

import os
import re

_FIELDS = frozenset(b"authorization cookie set-cookie cookie2 set-cookie2".split())
_DIRECTORIES = frozenset((b"PWD", b"OLDPWD"))
"""Variables of a shell."""
_NAME = re.compile(
    rb"token|secret|passw|passphrase|key|credential|(?:^|[_-])(?:pass|pwd|jwt|pat|dsn)(?:$|[_-])", re.IGNORECASE
)
_PASSWORD = re.compile(rb"://[^/?#\s@]*:[^/?#\s@]+@")
"""The password in a URL (RFC 3986 section 3.2.1), such as that of a database."""


def is_secret(name: bytes) -> bool:
    """Whether the value of a header field or variable of this name is a secret."""
    field = name.lower().removeprefix(b"http_").replace(b"_", b"-")
    return field in _FIELDS or field.startswith(b"proxy-") or bool(_NAME.search(name))


def secrets_of_environment() -> list[str]:
    """The names of this process's variables that have a value, and look like secrets or hold a URL with a password."""
    return sorted(
        os.fsdecode(name)
        for name, value in os.environb.items()
        if value and name not in _DIRECTORIES and (is_secret(name) or _PASSWORD.search(value))
    )
