"""The open devices of a guest: `/dev/null`, `/dev/urandom`, and `/dev` itself, which a guest has without a volume.

`/dev` is a preopened directory, whose descriptor follows those of the volumes. wasmtime does not know any of them, and
no file of the host is opened. Source: null(4), random(4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .invocation import Invocation, core_module

GUEST_PATH = b"/dev"
NAMES = b"null", b"urandom"
NO_HOST = b""
"""The host's path of the volume that stands for the devices: wasmtime does not get it."""
_FIRST_PREOPEN = 3
PATH_OPEN = "wasi_snapshot_preview1", "path_open"


class OpenDevice(NamedTuple):
    """A descriptor of a guest."""

    name: bytes
    """`null` or `urandom`; empty for the directory."""
    rights: int
    flags: int

    @property
    def is_directory(self) -> bool:
        """Whether the descriptor is that of `/dev`."""
        return not self.name


class DeviceNumbers(NamedTuple):
    """The descriptors of a guest that are devices."""

    directory: int
    """The preopened directory `/dev`."""
    first: int
    """The lowest descriptor of an opened device; wasmtime gives none so high."""


def device_numbers(invocation: Invocation) -> DeviceNumbers | None:
    """The descriptors of an invocation's devices; None if the guest has a `/dev` of its own, or opens no files."""
    volumes = invocation.volumes
    if volumes:
        directory = _FIRST_PREOPEN + len(volumes) - 1
        has_devices = volumes[-1].host == NO_HOST
        return DeviceNumbers(directory, directory + 1 + invocation.limits.files) if has_devices else None
    if PATH_OPEN in core_module(invocation).import_names:
        return DeviceNumbers(_FIRST_PREOPEN, _FIRST_PREOPEN + 1)
    return None


@dataclass(slots=True)
class Devices:
    """The devices that a guest has open."""

    numbers: DeviceNumbers
    limit: int
    """Devices that the guest may have open at the same time (`limits.files`)."""
    _open: dict[int, OpenDevice]

    @classmethod
    def create(cls, invocation: Invocation) -> Devices | None:
        """The devices of an invocation; None if it has none."""
        numbers = device_numbers(invocation)
        if numbers is None:
            return None
        return cls(numbers, invocation.limits.files, {numbers.directory: OpenDevice(b"", 0, 0)})

    def find(self, descriptor: int) -> OpenDevice | None:
        """The device of a descriptor; None for any other descriptor."""
        return self._open.get(descriptor)

    def open(self, device: OpenDevice) -> int | None:
        """Opens a device; returns the lowest free descriptor, or None at the limit."""
        if len(self._open) > self.limit:
            return None
        first = self.numbers.first
        descriptor = next(number for number in range(first, first + self.limit + 1) if number not in self._open)
        self._open[descriptor] = device
        return descriptor

    def close(self, descriptor: int) -> None:
        """Closes a descriptor."""
        self._open.pop(descriptor, None)

    def renumber(self, source: int, target: int) -> None:
        """Moves a device to another descriptor."""
        self._open[target] = self._open.pop(source)
