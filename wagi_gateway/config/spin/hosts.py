"""Spin's `allowed_outbound_hosts` and `allowed_http_hosts` as `allowed_hosts`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ...outbound.policy import ALLOW_ALL, AllowedHost

_ENTRY = re.compile(r"(?:(?P<scheme>[^:/]+)://)?(?P<host>\[[^\]]*\]|[^:/]*)(?::(?P<port>[^/]*))?(?P<rest>/.*)?")
_TEMPLATE = re.compile(r"\{\{\s*([^\s}]*)\s*\}\}")
_RANGE = re.compile(r"(\d{1,5})\.\.(\d{1,5})")
_MAX_PORTS = 32
"""Ports of a range that are listed one by one."""


class ConvertedHosts(NamedTuple):
    """The entries of `allowed_hosts`, and a sentence for each entry of Spin's that has no equivalent."""

    entries: list[str]
    doubts: list[str]


def convert_hosts(hosts: Iterable[str], defaults: Mapping[str, str | None]) -> ConvertedHosts:
    """Converts the hosts of a component. `defaults` has Spin's variables with their default values."""
    found: dict[str, None] = {}
    doubts: list[str] = []
    for host in hosts:
        text = _TEMPLATE.sub(lambda match: defaults.get(match[1]) or match[0], host)
        try:
            entries = list(_convert(text))
            for entry in entries:
                AllowedHost.parse(entry)
        except ValueError as error:
            doubts.append(f'"{host}" is left out: {error}')
        else:
            found |= dict.fromkeys(entries)
            if any(not AllowedHost.parse(entry).is_exact for entry in entries):
                doubts.append(f'"{host}" reaches public addresses alone; set allow_private_networks for others')
    return ConvertedHosts(list(found), doubts)


def _convert(text: str) -> Iterator[str]:
    """The entries for one of Spin's. Raises ValueError."""
    if text in (ALLOW_ALL, "*://*:*", "*://*"):
        yield ALLOW_ALL
        return
    match = _ENTRY.fullmatch(text)
    if _TEMPLATE.search(text) or not match:
        raise ValueError("write its value into allowed_hosts")
    scheme, host, port = (match["scheme"] or "*").lower(), match["host"], match["port"]
    if scheme not in ("http", "https", "*"):
        raise ValueError("a guest can call http and https alone")
    if host == "*":
        raise ValueError(f'it permits every host; write "{ALLOW_ALL}" if that is meant')
    if host in ("self", "self.alt") or host.endswith(".spin.internal"):
        raise ValueError('it is the application itself; write the address of this gateway, "http://127.0.0.1:3000"')
    prefix = f"{scheme}://{host}" if scheme != "*" else host
    if re.fullmatch(r"/\d+", match["rest"] or ""):
        raise ValueError("a network is no host; name its hosts")
    for number in _ports(port):
        yield f"{prefix}:{number}" if number else prefix


def _ports(port: str | None) -> Iterable[str]:
    """The ports of an entry; empty text for the usual one. Raises ValueError."""
    if not port:
        return [""]
    if found := _RANGE.fullmatch(port):
        ports = range(int(found[1]), int(found[2]))
        if 0 < len(ports) <= _MAX_PORTS:
            return map(str, ports)
    if not port.isdecimal():
        raise ValueError(f'list its ports one by one in place of "{port}"')
    return [port]
