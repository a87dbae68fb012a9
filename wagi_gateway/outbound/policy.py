"""The policy of `allowed_hosts`: which destinations it permits, and at which addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

import ada_url

from .destination import DEFAULT_PORTS, Address, Destination, address_of, canonical_host
from .errors import DestinationNotAllowed

ALLOW_ALL = "insecure:allow-all"
VALID_FORMS = (
    'write for example "https://api.example.com", "http://localhost:8080", "api.example.com", "*.example.com" or '
    f'"{ALLOW_ALL}"'
)

_ENTRY = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?"
    r"(?P<subdomains>\*\.)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#\\@*%\s]+)(?::(?P<port>\d{1,5}))?"
    r"(?P<rest>[/?#].*)?"
)


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """One entry of `allowed_hosts`."""

    text: str
    host: str
    """The canonical host; empty for `insecure:allow-all`."""
    scheme: str | None = None
    """None for http and https."""
    port: int | None = None
    """None for the scheme's default port."""
    is_subdomains: bool = False
    """Whether the entry permits the names below the host, and not the host itself."""
    ignored: str = ""
    """A path, query or fragment, which the policy does not compare."""

    @classmethod
    def parse(cls, text: str) -> AllowedHost:
        """Parses an entry. Raises ValueError with the valid forms."""
        if text == ALLOW_ALL:
            return cls(text, "")
        match = _ENTRY.fullmatch(text)
        if not match:
            raise ValueError(f"not an entry of allowed_hosts; {VALID_FORMS}")
        scheme = match["scheme"].lower() if match["scheme"] else None
        if scheme not in (None, *DEFAULT_PORTS):
            raise ValueError(f"a guest can call http and https, not {scheme}; {VALID_FORMS}")
        try:
            host = canonical_host(ada_url.URL(f"http://{match['host']}/").hostname)
        except ValueError:
            raise ValueError(f"{match['host']} is no host; {VALID_FORMS}") from None
        port = int(match["port"]) if match["port"] else None
        if port is not None and not 0 < port < 65536:
            raise ValueError(f"{port} is no port; {VALID_FORMS}")
        is_subdomains = match["subdomains"] is not None
        if is_subdomains and address_of(host):
            raise ValueError(f"an address has no subdomains; {VALID_FORMS}")
        ignored = match["rest"] or ""
        if address_of(host) and re.fullmatch(r"/\d+", ignored):
            raise ValueError(f"a network is no host; {VALID_FORMS}")
        return cls(text, host, scheme, port, is_subdomains, "" if ignored == "/" else ignored)

    @property
    def is_exact(self) -> bool:
        """Whether the entry names one host. Any other entry permits public addresses alone."""
        return bool(self.host) and not self.is_subdomains

    def permits(self, destination: Destination) -> bool:
        """Whether the entry permits a destination."""
        if destination.port == 0:
            return False  # no server has it, and httpcore would connect to the scheme's default port
        if not self.host:
            return destination.scheme in DEFAULT_PORTS
        if destination.scheme not in ((self.scheme,) if self.scheme else DEFAULT_PORTS):
            return False
        if destination.port != (self.port or DEFAULT_PORTS[destination.scheme]):
            return False
        if self.is_subdomains:
            return destination.host.endswith("." + self.host)
        return destination.host == self.host

    def describe(self, *, allow_private_networks: bool) -> str:
        """A sentence that says what the entry permits."""
        where = "at any address" if self.is_exact or allow_private_networks else "at public addresses only"
        if not self.host:
            return f"every host and port over http and https, {where}"
        schemes = (self.scheme,) if self.scheme else tuple(DEFAULT_PORTS)
        ways = " and ".join(f"{scheme} on port {self.port or DEFAULT_PORTS[scheme]}" for scheme in schemes)
        host = f"every name below {self.host}, not {self.host} itself" if self.is_subdomains else self.host
        return f"{host}: {ways}, {where}"


class Policy:
    """The `allowed_hosts` of one module."""

    def __init__(
        self, entries: Iterable[str], *, allow_private_networks: bool = False, public_only: bool = False
    ) -> None:
        """With `public_only` no entry reaches any but a public address. Raises ValueError for a malformed entry."""
        self.entries = tuple(map(AllowedHost.parse, entries))
        self._public_only = public_only
        self._allow_private_networks = allow_private_networks

    def check(self, destination: Destination) -> bool:
        """Checks a destination. Raises DestinationNotAllowed.

        Returns whether only public addresses may be connected to.
        """
        permitting = [entry for entry in self.entries if entry.permits(destination)]
        if destination.scheme not in DEFAULT_PORTS:
            raise DestinationNotAllowed(f"a guest can call http and https, not {destination.scheme}")
        if not permitting:
            raise DestinationNotAllowed(f"{destination.origin} is not in allowed_hosts")
        public_only = self._public_only or (
            not self._allow_private_networks and not any(entry.is_exact for entry in permitting)
        )
        if public_only and (address := destination.address):
            self.check_address(address, permitting[0].text)
        return public_only

    def check_address(self, address: Address, what: str = "") -> None:
        """Raises DestinationNotAllowed for an address that is not public; `what` is the entry that permits the name."""
        if not is_public(address):
            by = f'"{what}"' if what else "its entry of allowed_hosts"
            raise DestinationNotAllowed(
                f"{address} is not a public address, which {by} does not reach without allow_private_networks"
            )


def is_public(address: Address) -> bool:
    """Whether an address is globally reachable, and neither this host, nor its networks, nor its cloud's services.

    Source: IANA's special-purpose address registries (RFC 6890), and the clouds' own documents for metadata services.
    Python's `is_global` differs from release to release.
    """
    if isinstance(address, IPv6Address):
        if inner := _embedded(address):
            return is_public(inner)
        return address in _UNICAST and not any(address in network for network in _NOT_PUBLIC_6)
    return not any(address in network for network in _NOT_PUBLIC_4)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address maps or translates to."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped


_NOT_PUBLIC_4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT; Alibaba Cloud's metadata
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's virtual public address of the host platform
            "169.254.0.0/16",  # link-local; the metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocol assignments; Oracle Cloud's metadata
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_NOT_PUBLIC_6 = tuple(
    map(
        ip_network,
        (
            "2001::/23",  # protocol assignments; Teredo, which embeds IPv4 addresses
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which embeds IPv4 addresses
            "3fff::/20",  # documentation
        ),
    )
)
