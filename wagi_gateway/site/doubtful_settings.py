"""Warnings of settings that are valid and probably not meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ..config.settings import Config, ModuleConfig
from ..errors import redact_value
from ..outbound.policy import AllowedHost
from .findings import Findings

# Interpreters, whose options run code of the client's choice (CVE-2012-1823).
_INTERPRETER = re.compile(r"(php|python|ruby|perl|lua|node|quickjs|qjs|micropython|sh|bash|busybox)\b", re.IGNORECASE)

_PARAMETER = re.compile(
    r"(.*[@.~-])?:[A-Za-z_].*|\$[A-Za-z]\w*|\[{1,2}(\.\.\.)?[A-Za-z]\w*\]{1,2}"  # of Express, Remix, Next.js
    r"|.*\*.*|.*\{.*\}.*|.*<.*>.*"  # of Caddy and Workers, of FastAPI and Go, of Flask and Django
    r"|\^.*|.*\(.*\).*|.*\\[dw].*|.*\$|\.\+|.*\[[^\]]*(\][+?])?"  # regular expressions
)
"""A segment with which other routers match any text."""
_PLACEHOLDER = re.compile(r"\$\{[^}\s]*\}?|\$[(@*]|\$\w+|(?<!\$)\{{1,2}[A-Z_]{2,}\}{1,2}")
_PLACEHOLDERS = ("${SCRIPT_NAME}", "${ARGS}")
_QUOTED = re.compile(r"""(?:\S*[=:])?["'`]\S*|\S*["'`]""")
_OPERATORS = frozenset(("|", "||", "&&", "&", ";", ">", ">>", "<", "2>", "2>&1"))


def warn_of_doubtful_settings(module: ModuleConfig, config: Config, findings: Findings) -> None:
    """Warns of settings of a `[[module]]` that are valid and probably not meant."""
    for entry in map(AllowedHost.parse, module.allowed_hosts or ()):
        if entry.ignored:
            path = entry.ignored.partition("?")[0] or "?…"
            what = f'"{redact_value(entry.text)}" permits all of the host; "{path}" is not compared'
            findings.warn(f"allowed_hosts: {what}")
        elif not entry.is_exact and config.outbound.proxy and not module.allow_private_networks:
            what = f'"{entry.text}" permits no name, because outbound.proxy resolves it'
            findings.warn(f"allowed_hosts: {what}; set allow_private_networks = true")
    if module.document_root and not _is_read_only(module):
        what = f'"{module.document_root.path}" is in a volume that guests write to: a script that one puts there is run'
        findings.warn(f"document_root: {what}; make it read_only, and what has to be written a volume of its own")
    is_interpreter = module.document_root is not None or _INTERPRETER.match(Path(module.module).stem)
    if module.argv is None and module.argv_mode == "wagi" and is_interpreter:
        what = 'a query such as "?-x" becomes an option of this interpreter; set argv, or argv_mode = "none"'
        findings.warn(f'module = "{module.module}": {what}')
    for doubt in _argv_doubts(module.argv or ""):
        findings.warn(f"argv: {doubt}")
    warn_of_doubtful_route(module.route, findings)


def _is_read_only(module: ModuleConfig) -> bool:
    """Whether the volume of the document root is read-only."""
    root = PurePosixPath(module.guest_document_root)
    held = [guest for guest in module.volumes if root.is_relative_to(guest)]
    return module.volumes[max(held, key=len)].read_only


def warn_of_doubtful_route(route: str, findings: Findings) -> None:
    """Warns of a route that is probably meant for another router."""
    for doubt in _route_doubts(route):
        findings.warn(f'route = "{route}": {doubt}')


def _route_doubts(route: str) -> Iterator[str]:
    if not route.startswith("/"):  # an error, and not a doubt
        return
    path = route.removesuffix("/...")
    if "..." in path:
        yield '"..." stands for everything below at the end only, after a slash'
    elif "…" in path:
        yield 'the character "…" stands for itself; write three dots, "/..."'
    segments = path.split("/")
    for number, segment in enumerate(segments):
        if _PARAMETER.fullmatch(segment) and "..." not in segment.removeprefix("[..."):
            wider = "/".join([*segments[:number], "..."])
            yield f'"{segment}" stands for itself, not for any text; write "{wider}" and read PATH_INFO'
            return
    if any(character.isspace() for character in path):
        yield f'has a blank, which a request has as "%20"; remove it, or write "{path.strip().replace(" ", "%20")}"'
    if "\\" in path:
        yield 'a backslash stands for itself; write "/"'
    elif "//" in path:
        yield "has a void segment; most clients and servers merge slashes, so that no request has it"
    elif path != "/" and path.endswith("/"):
        bare = path.rstrip("/")
        yield f'answers this path alone, not "{bare}"; write "{bare}/..." for both and everything below'


def _argv_doubts(argv: str) -> Iterator[str]:
    words = argv.split()
    if quoted := next((word for word in words if _QUOTED.fullmatch(word)), None):
        yield f"quotes are part of the argument, as in {quoted}: it is split on white space alone"
    elif any(word.endswith("\\") for word in words[:-1]):
        yield "a backslash is part of the argument: it is split on white space alone"
    if operator := next((word for word in words if word in _OPERATORS), None):
        yield f"{operator} is an argument like others: there is no shell"
    for found in dict.fromkeys(_PLACEHOLDER.findall(argv)):
        if found not in _PLACEHOLDERS:
            name = f"${{{found.strip('${}').upper()}}}"
            hint = f"write {name}" if name in _PLACEHOLDERS else "only ${SCRIPT_NAME} and ${ARGS} are replaced"
            yield f"{found} stands for itself; {hint}"
