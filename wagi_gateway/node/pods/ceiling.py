"""The checks of a Pod against the operator's `[ceiling]`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from ...outbound.policy import AllowedHost, is_public
from ...site.mounts import places
from ..options import Ceiling
from .volume_files import BadVolume

FIRST_UNPRIVILEGED_PORT = 1024


class HostPath(NamedTuple):
    """The directory of a `hostPath` volume."""

    path: Path
    """Without symbolic links."""
    beneath: Path
    """The directory of `ceiling.host_paths` at or above it: what a guest does below that one leads nowhere else."""


class PodCeiling(NamedTuple):
    """What the author of any Pod may ask of the node."""

    options: Ceiling
    reserved_ports: frozenset[int] = frozenset()
    """Ports of the node itself, such as that of its HTTPS API."""

    def check_host_path(self, path: str) -> None:
        """Raises BadVolume for a directory that no Pod may mount."""
        # Both as written and without symbolic links: the operator's own directory may be behind one.
        if not any(_is_below(path, one) for one in (*self._listed(), *self._outermost())):
            raise _not_permitted(path)

    def host_path(self, path: str) -> HostPath:
        """The directory that a path leads to now. Raises BadVolume for one that no Pod may mount."""
        self.check_host_path(path)
        # Not the path's text alone: a symbolic link in it may lead out of what the operator permits.
        real = os.path.realpath(path)
        above = [one for one in self._outermost() if _is_inside(real, one)]
        if not above:
            raise _not_permitted(real)
        return HostPath(Path(real), Path(min(above, key=len)))

    def _listed(self) -> list[str]:
        """The directories that Pods may mount, as written."""
        return [os.path.normpath(one) for one in self.options.host_paths]

    def _outermost(self) -> list[str]:
        """The directories that Pods may mount, without symbolic links and without those below another one.

        A guest that may write to the outer one could put a link in the place of the inner one, or of a directory on
        the way to it.
        """
        ways = [list(map(str, places(Path(one)))) for one in self._listed()]
        reals = [way[-1] for way in ways]
        return [way[-1] for way in ways if not any(_is_strictly_inside(one, real) for one in way for real in reals)]

    def problems_of_port(self, port: int) -> Iterator[str]:
        """What is wrong with a port to listen on."""
        if port in self.reserved_ports:
            yield f"port {port} is the node's own; choose another one"
        elif port == 0:
            yield "port 0 names no port; choose one that clients can know"
        elif port < FIRST_UNPRIVILEGED_PORT and not self.options.privileged_ports:
            yield f"port {port} is below 1024, which this node does not permit (ceiling.privileged_ports)"

    def problems_of_hosts(self, entries: tuple[str, ...]) -> Iterator[str]:
        """What is wrong with a module's `allowed_hosts`, all of which are valid entries."""
        permitted = self.options.allowed_hosts
        for entry in map(AllowedHost.parse, entries):
            if permitted is not None and not any(covers(AllowedHost.parse(one), entry) for one in permitted):
                yield f"{entry.text[:200]!r} is not among the hosts that this node permits (ceiling.allowed_hosts)"
            elif not self.options.allow_private_networks and _is_private(entry.host):
                yield (
                    f"{entry.text[:200]!r} is in a private network, which this node does not permit "
                    "(ceiling.allow_private_networks)"
                )

    def problems_of_memory(self, memory: int) -> Iterator[str]:
        """What is wrong with `resources.limits.memory` in bytes."""
        if memory > self.options.memory:
            yield f"more than the {self.options.memory} bytes that this node permits (ceiling.memory)"


def covers(ceiling: AllowedHost, entry: AllowedHost) -> bool:
    """Whether every destination that `entry` permits is one that `ceiling` permits.

    >>> covers(AllowedHost.parse("*.example.com"), AllowedHost.parse("https://api.example.com"))
    True
    """
    if not ceiling.host:
        return True
    if not entry.host or ceiling.scheme not in (None, entry.scheme) or ceiling.port != entry.port:
        return False
    if ceiling.is_subdomains:
        is_same = entry.is_subdomains and entry.host == ceiling.host
        return is_same or entry.host.endswith("." + ceiling.host)
    return not entry.is_subdomains and entry.host == ceiling.host


def _is_private(host: str) -> bool:
    try:
        return not is_public(ip_address(host.strip("[]")))
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _not_permitted(path: str) -> BadVolume:
    return BadVolume(f"hostPath {path[:200]} is not permitted on this node (ceiling.host_paths)")


def _is_below(path: str, prefix: str) -> bool:
    if not path.startswith("/") or ".." in path.split("/"):
        return False
    return _is_inside(os.path.normpath(path), prefix)


def _is_strictly_inside(path: str, directory: str) -> bool:
    return path != directory and _is_inside(path, directory)


def _is_inside(path: str, directory: str) -> bool:
    return os.path.commonpath([path, directory]) == directory
