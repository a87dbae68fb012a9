"""The pauses of the host calls of `wasi_experimental_http`; tests/system/outbound/test_calls.py tests its functions."""

from __future__ import annotations

import threading
import time

import pytest

from tests.support.clients import guest_that_calls, run_alone
from tests.support.farm import Target
from wagi_gateway.config.settings import Limits
from wagi_gateway.outbound.client import OutboundClient
from wagi_gateway.outbound.policy import Policy
from wagi_gateway.sandbox.context import _CALLS_PER_PAUSE, _HOST_CALL_PAUSE

BODY_READ = '(import "wasi_experimental_http" "body_read" (func $read (param i32 i32 i32 i32) (result i32)))'
READS = 1500


@pytest.mark.parametrize("size", [1, 255, 4096])
def test_reads_are_slowed_down(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        if threading.current_thread().name == "guest":
            slept.append(seconds)

    read = f"(call $read (i32.const 0) (i32.const 4096) (i32.const {size}) (i32.const 16))"
    drain = f"(loop $more (if {read} (then unreachable)) (br_if $more (i32.load (i32.const 16))))"
    with Target() as target:
        wat = guest_that_calls(f"{target.url}/big?size={size * READS}".encode(), imports=BODY_READ, then=drain)
        client = OutboundClient(Policy([target.url]), Limits(), 1)
        monkeypatch.setattr(time, "sleep", sleep)
        guest, (call,), _ = run_alone(wat, client, Limits())
        monkeypatch.undo()
        client.close()
    assert (guest.failure(), call.received) == (None, size * READS)
    assert slept == [_HOST_CALL_PAUSE] * ((READS + 2) // _CALLS_PER_PAUSE)  # with the call, and the read at the end
