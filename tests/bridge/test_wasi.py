"""The interfaces of WASI 0.2 that a composed component may import."""

from __future__ import annotations

import pytest

from tests.support.component_guests import invocation
from tests.support.components import bare
from tests.support.sandbox import run
from wagi_gateway.bridge import wasi
from wagi_gateway.compiler import component


def test_the_interfaces_are_those_of_a_command() -> None:
    assert {name.removeprefix("wasi:") for name in wasi._definitions()} == component._PROVIDED


def test_all_interfaces_are_provided_as_they_are_described() -> None:
    text = wasi.import_text(wasi.with_dependencies(wasi._definitions()))
    output, guest = run(invocation(bare(more=text)))
    assert (output, guest.failure()) == (b"", None)


def test_an_interface_comes_after_those_that_it_uses() -> None:
    assert wasi.with_dependencies(["wasi:cli/stdin"]) == [
        "wasi:io/error", "wasi:io/poll", "wasi:io/streams", "wasi:cli/stdin",
    ]  # fmt: skip


def test_there_is_no_interface_of_another_name() -> None:
    with pytest.raises(KeyError):
        wasi.with_dependencies(["wasi:keyvalue/store"])
