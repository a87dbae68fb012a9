"""Which components have a bridge for wasi:http within."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.handlers import bridged, proxy
from wagi_gateway.bridge.composition import BRIDGE
from wagi_gateway.compiler.binary import COMPONENT, Malformed, leb128
from wagi_gateway.compiler.bridged import BRIDGES, MAX_MEMORY, count_bridges
from wagi_gateway.compiler.component_binary import find_modules

NESTED = b"\4" + leb128(len(BRIDGE.read_bytes())) + BRIDGE.read_bytes()
INSTANCE = b"\5\4\1\0\0\0"


def test_the_committed_bridge_is_known() -> None:
    assert hashlib.sha256(BRIDGE.read_bytes()).hexdigest() in BRIDGES


def test_the_bridges_memory_is_small() -> None:
    data = BRIDGE.read_bytes()
    maxima = [b"\1" + leb128(17) + leb128(MAX_MEMORY // 2**16) in data[begin:end] for begin, end in find_modules(data)]
    assert maxima.count(True) == 1


@pytest.mark.parametrize(
    ("data", "count"),
    [
        pytest.param(COMPONENT + NESTED + INSTANCE, 1, id="least"),
        pytest.param(COMPONENT + NESTED, 0, id="not-instantiated"),
        pytest.param(COMPONENT + NESTED + NESTED + INSTANCE, 0, id="not-next"),
        pytest.param(COMPONENT + NESTED + INSTANCE.replace(b"\1\0\0", b"\1\0\1"), 0, id="another-instance"),
        pytest.param(COMPONENT + b"\4\x08" + COMPONENT + NESTED + INSTANCE, 0, id="not-first"),
        pytest.param(COMPONENT + b"\4\x08" + COMPONENT + INSTANCE, 0, id="unknown"),
        pytest.param(COMPONENT, 0, id="empty"),
    ],
)
def test_a_bridge_counts_if_it_is_known_and_instantiated_first(data: bytes, count: int) -> None:
    assert count_bridges(data) == count


def test_a_composed_component_has_a_bridge() -> None:
    assert count_bridges(bridged(proxy())) == 1


def test_a_malformed_component_is_refused() -> None:
    with pytest.raises(Malformed):
        count_bridges(COMPONENT + b"\4\x7f")
