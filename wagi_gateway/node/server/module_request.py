"""The command of `kubectl exec`: a request to a module, `GET /path "Accept: text/plain"`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from .containers import Container

USAGE = (
    "a container is a WebAssembly module, which answers requests: kubectl exec POD -c MODULE -- "
    'METHOD /PATH ["NAME: VALUE" ...]'
)
_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")
_FIELD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*:.*", re.DOTALL)
_MAX_WORDS = 256
_VARIABLES = ("HOME", "LANG", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "XDG_CACHE_HOME")


class NotARequest(ValueError):
    """A command is no request."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; {USAGE}")


@dataclass(frozen=True, slots=True)
class ModuleRequest:
    """A request without its body."""

    method: str
    path: str
    fields: tuple[str, ...] = ()
    """Header fields as `NAME: VALUE`."""

    @classmethod
    def parse(cls, command: Sequence[str]) -> ModuleRequest:
        """Parses the words of a command. Raises NotARequest."""
        method, path, *fields = (*command, "", "")[: max(len(command), 2)]
        if not _METHOD.fullmatch(method):
            raise NotARequest(f'"{method}" is no method of HTTP, and there is no program to execute')
        if not path.startswith("/"):
            raise NotARequest(f'"{path}" is no path' if path else "the path is missing")
        if len(command) > _MAX_WORDS:
            raise NotARequest(f"there are more than {_MAX_WORDS} words")
        if any("\0" in word for word in command):
            raise NotARequest("a word has a NUL character")
        for number, field in enumerate(fields, start=1):
            if not _FIELD.fullmatch(field):  # the text may be a secret, and is not shown
                raise NotARequest(f"header field {number} is not NAME: VALUE")
        return cls(method, path, tuple(fields))

    def command(self, container: Container, *, has_body: bool) -> list[str]:
        """The command line that answers the request, with the body on standard input."""
        return [
            *(sys.executable, "-m", "wagi_gateway", "run", str(container.configuration)),
            *(f"--route={container.route}", f"--method={self.method}", f"--path={self.path}", "--body"),
            *(f"--header={field}" for field in self.fields),
            *(["--data=@-"] if has_body else []),
        ]


def environment() -> dict[str, str]:
    """The variables of that command: nothing of the node's own credentials."""
    return {name: value for name in _VARIABLES if (value := os.environ.get(name))}
