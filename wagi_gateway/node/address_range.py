"""The addresses of a CIDR range that Pods may have."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


class AddressRange:
    """A range such as `10.1.2.0/28`, without the addresses that are none of a host.

    Those are the network's own and the broadcast address (RFC 1122, section 3.2.1.3), and the anycast address of
    routers (RFC 4291, section 2.6.1); a range of one or two addresses has none of them (RFC 3021, RFC 6164).

    >>> addresses = AddressRange("10.1.2.0/28")
    >>> addresses.size, addresses[0], "10.1.2.15" in addresses
    (14, '10.1.2.1', True)
    """

    def __init__(self, cidr: str) -> None:
        """Raises ValueError."""
        self.network = ip_network(cidr)
        self._first = self.network.network_address
        self.size = self.network.num_addresses
        """Addresses for Pods."""
        if self.size > 2:
            self._first += 1
            self.size -= 2 if self.network.version == 4 else 1

    def __getitem__(self, index: int) -> str:
        return str(self._first + index)

    def __contains__(self, address: object) -> bool:
        """Whether an address is in the range, those that no Pod has included; a host name is not."""
        return (found := _parse(str(address))) is not None and found in self.network

    def __str__(self) -> str:
        return str(self.network)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket of IPv6 has the addresses of IPv4 in this form.
    return getattr(address, "ipv4_mapped", None) or address
