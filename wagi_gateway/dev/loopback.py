"""What `dev` refuses: every address, setting and name with which another host could reach the development server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..config.settings import ServerConfig
from ..config.values import is_local, parse_descriptor, parse_listen, parse_unix
from ..errors import Problem

_NAME = re.compile(rb"(?:(?:[\w-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
_VARIABLES = {
    "NOTIFY_SOCKET": "a service manager starts `serve`",
    "KUBERNETES_SERVICE_HOST": "a Pod runs `serve`",
}


def is_own_name(host: bytes) -> bool:
    """Whether a value of Host is a name or address of this host alone. A browser that a foreign name has led here sends
    that name (DNS rebinding), and its page could read the answer."""
    return _NAME.fullmatch(host) is not None


def refusals(server: ServerConfig, inspector: str, environment: Mapping[str, str]) -> Iterator[Problem]:
    """The reasons not to start with this `[server]` table, inspector address and environment of the process."""
    yield from _of_address("server.listen", server.listen, "--listen 127.0.0.1:3000")
    yield from _of_address("--inspector", inspector, "--inspector 127.0.0.1:3001")
    if server.workers > 1:
        yield Problem("", f"server.workers = {server.workers}: dev is one process; leave it out, or use serve")
    for network in server.trusted_proxies:
        if network != "unix" and not network.is_loopback:
            yield Problem("", f'server.trusted_proxies = ["{network}"]: dev answers this host alone; use serve')
    for name, why in _VARIABLES.items():
        if environment.get(name):
            yield Problem("", f"the variable {name} is set: dev is for the terminal of a developer, and {why}")


def _of_address(key: str, address: str, instead: str) -> Iterator[Problem]:
    if parse_unix(address) is not None or parse_descriptor(address) is not None:
        yield Problem("", f"{key} = {address}: dev serves on a loopback port alone; write {instead}")
        return
    try:
        host, _ = parse_listen(address)
    except ValueError as error:
        yield Problem("", f"{key} = {address}: {error}")
        return
    if not is_local(host):
        yield Problem("", f"{key} = {address}: dev serves on loopback addresses alone; write {instead}")
