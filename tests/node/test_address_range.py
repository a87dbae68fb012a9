"""The addresses of a CIDR range."""

from __future__ import annotations

import pytest

from wagi_gateway.node.address_range import AddressRange


@pytest.mark.parametrize(
    ("cidr", "size", "first", "last"),
    [
        ("10.1.2.0/28", 14, "10.1.2.1", "10.1.2.14"),
        ("10.1.2.4/31", 2, "10.1.2.4", "10.1.2.5"),
        ("10.1.2.4/32", 1, "10.1.2.4", "10.1.2.4"),
        ("fd00:1::/126", 3, "fd00:1::1", "fd00:1::3"),
        ("fd00:1::/127", 2, "fd00:1::", "fd00:1::1"),
        ("fd00:1::/64", 2**64 - 1, "fd00:1::1", "fd00:1::ffff:ffff:ffff:ffff"),
    ],
)
def test_the_addresses_of_hosts(cidr: str, size: int, first: str, last: str) -> None:
    found = AddressRange(cidr)
    assert (found.size, found[0], found[size - 1], str(found)) == (size, first, last, cidr)


@pytest.mark.parametrize(
    ("address", "is_in"),
    [
        ("10.1.2.0", True),
        ("10.1.2.15", True),
        ("::ffff:10.1.2.5", True),
        ("10.1.2.16", False),
        ("::", False),
        ("fd00::1", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_which_addresses_are_in_a_range(address: str, *, is_in: bool) -> None:
    assert (address in AddressRange("10.1.2.0/28")) is is_in
