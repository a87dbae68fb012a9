"""The descriptors of devices."""

from __future__ import annotations

import pytest

from tests.support import guests
from tests.support.sandbox import invocation
from wagi_gateway.sandbox.devices import GUEST_PATH, NO_HOST, DeviceNumbers, Devices, OpenDevice, device_numbers
from wagi_gateway.sandbox.invocation import GuestVolume

pytestmark = pytest.mark.parametrize("path", ["hot"], indirect=True)
OPENS = f"""(module (import "wasi_snapshot_preview1" "path_open"
  (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32))) {guests.FD_WRITE}
 (memory (export "memory") 1) (func (export "_start")))"""
DATA, DEVICES = GuestVolume(b"/", b"/data", True), GuestVolume(NO_HOST, GUEST_PATH, False)


@pytest.mark.parametrize(
    ("wat", "volumes", "expected"),
    [
        (guests.HELLO, (), None),
        (OPENS, (), DeviceNumbers(3, 4)),
        (OPENS, (DATA,), None),
        (guests.HELLO, (DATA, DEVICES), DeviceNumbers(4, 15)),
    ],
    ids=["opens no file", "no volume", "own directory", "volumes"],
)
def test_numbers(wat: str, volumes: tuple[GuestVolume, ...], expected: DeviceNumbers | None) -> None:
    given = invocation(wat, files=10)
    given.volumes = volumes
    assert device_numbers(given) == expected
    assert (Devices.create(given) is None) == (expected is None)


def test_the_lowest_free_descriptor_is_taken() -> None:
    devices = Devices.create(invocation(OPENS, files=3))
    assert devices
    null = OpenDevice(b"null", 0, 0)
    assert [devices.open(null) for _ in range(4)] == [4, 5, 6, None]
    devices.close(5)
    assert devices.find(5) is None
    assert devices.open(null) == 5
    devices.renumber(5, 1)
    assert devices.find(1) == null
    assert devices.find(5) is None
