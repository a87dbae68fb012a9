"""The addresses of the Pods that have one of their own: a range, all of which is local on this machine."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

from ...errors import GatewayError, Problem, StartupError
from ...observe.log import logger
from ..address_range import AddressRange

CHECKED = 256
"""Addresses of a range that are tried at the start, from its first one on."""


class AddressesExhausted(GatewayError):
    """Each address of the range has a Pod."""


class AddressPool:
    """Assigns addresses to Pods by uid. An address that was released is assigned last."""

    def __init__(self, addresses: AddressRange) -> None:
        self.range = addresses
        self._assigned: dict[str, str] = {}
        self._next = 0
        self._released = asyncio.Event()

    @classmethod
    def open(cls, cidr: str) -> AddressPool:
        """The addresses of the option `pod_cidr`. Raises StartupError if they are not local on this machine."""
        addresses = AddressRange(cidr)
        for index in range(min(addresses.size, CHECKED)):
            if reason := why_not_local(addresses[index]):
                version = " -6" if addresses.network.version == 6 else ""
                what = f"{addresses[index]} is no address of this machine ({reason}); run as root: "
                what += f"ip{version} route add local {addresses} dev lo"
                raise StartupError(Problem("pod_cidr", f'"{addresses}": {what}'))
        if addresses.network.is_loopback:
            logger.warning("pod_cidr %s: EndpointSlices refuse loopback addresses, so no Service has them", addresses)
        return cls(addresses)

    def claim(self, uid: str, address: str) -> None:
        """Keeps the address of a Pod of an earlier process; one outside the range is not assigned anyway."""
        if address in self.range and address not in self._assigned.values():
            self._assigned[uid] = address

    def assign(self, uid: str, earlier: str = "") -> str:
        """The address of a Pod: that which it has, its earlier one if that is free, or another one.

        Raises AddressesExhausted.
        """
        self.claim(uid, self._assigned.get(uid) or earlier)
        if uid not in self._assigned:
            self._assigned[uid] = self._free()
        return self._assigned[uid]

    def release(self, uid: str) -> None:
        """Takes the address of a Pod that has ended, if it has one."""
        if self._assigned.pop(uid, None):
            self._released.set()
            self._released = asyncio.Event()

    async def wait_for_release(self) -> None:
        """Waits until a Pod has ended."""
        await self._released.wait()

    def _free(self) -> str:
        used, size = set(self._assigned.values()), self.range.size
        for index in range(self._next, self._next + min(size, len(used) + 1)):
            if (address := self.range[index % size]) not in used:
                self._next = (index + 1) % size
                return address
        raise AddressesExhausted(f"all {size} addresses of {self.range} (pod_cidr) have a Pod")


def why_not_local(address: str) -> str | None:
    """Why a socket cannot be bound to an address; None if it can."""
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return error.strerror
    return None
