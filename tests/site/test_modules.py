"""The loader of modules: the routes that `_routes` prints, and the reuse of an engine."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support import guests
from tests.support.sandbox import compiler, warm
from wagi_gateway.config.settings import CacheConfig, Config, Limits
from wagi_gateway.errors import LoadCancelled
from wagi_gateway.site.findings import Findings
from wagi_gateway.site.modules import ModuleLoader, PrintedRoutes

BAD = "a line is a path and an entrypoint"


def printed(lines: bytes, then: str = "", **limits: object) -> PrintedRoutes:
    wat = guests.says(lines, then=then).replace('(export "_start")', '(export "_routes")')
    return own_loader().print_routes(warm(wat), Limits.model_validate(limits), "/m")


def own_loader(cancelled: threading.Event | None = None) -> ModuleLoader:
    """A loader with the engine of the tests' modules."""
    config = Config(cache=CacheConfig(enabled=False))
    loader = ModuleLoader(config, Path(), Findings("file"), cancelled=cancelled)
    loader.compiler.engine = compiler().engine
    return loader


@pytest.mark.parametrize(
    ("lines", "routes", "problems"),
    [
        (b"/a one\n/b/... two\n", [("/a", "one"), ("/b/...", "two")], []),
        (b"/a \t one\r\n\n/b two", [("/a", "one"), ("/b", "two")], []),
        (b"/a one\n/a two\n", [("/a", "one"), ("/a", "two")], []),
        (b"", [], [f"it printed nothing; {BAD}"]),
        (b" \n\n", [], [f"it printed nothing; {BAD}"]),
        (b"/a\n/b two\n", [("/b", "two")], [f'it printed "/a"; {BAD}']),
        (b"/a one two\n", [], [f'it printed "/a one two"; {BAD}']),
        (b"/\xff one\n", [("/\\xff", "one")], []),
    ],
    ids="two|blanks|twice|nothing|white space|one column|three columns|not UTF-8".split("|"),
)
def test_print_routes(lines: bytes, routes: list[tuple[str, str]], problems: list[str]) -> None:
    assert printed(lines) == PrintedRoutes(routes, problems)


def test_routes_of_a_guest_that_fails_are_not_taken() -> None:
    routes, problems = printed(b"/a one\n", "unreachable")
    assert routes == []
    assert len(problems) == 1
    assert "unreachable" in problems[0]


def test_the_time_of_routes_is_limited() -> None:
    assert printed(b"", "(loop (br 0))", time="100ms").problems == ["the guest ran into limits.time (0.1 s)"]


CLOSE = '(import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))'


@pytest.mark.parametrize("entrypoint", ["(start $run)", '(export "_routes" (func $run))'])
@pytest.mark.parametrize(
    ("then", "failure"),
    [
        ("(loop (br 0))", "the guest ran into limits.time (0.1 s)"),
        ("unreachable", "trap: wasm `unreachable`"),
    ],
    ids=["loops", "traps"],
)
def test_a_guest_that_closes_its_output_is_awaited(entrypoint: str, then: str, failure: str) -> None:
    module = warm(
        f'(module {CLOSE} (memory (export "memory") 1) {entrypoint}'
        f" (func $run (drop (call $close (i32.const 1))) {then}))"
    )
    own, limits = own_loader(), Limits(time=0.1)
    found = own.check_instantiates(module, limits) or own.print_routes(module, limits, "/m").problems[0]
    assert found.startswith(failure)


def test_the_problems_of_routes_are_bounded() -> None:
    assert len(printed(b"/a one two\n" * 1000).problems) == 100


ENDLESS = {
    "start function": "(module (start $begin) (func $begin (loop (br 0))))",
    "a start function that sleeps": guests.SLEEP.replace(
        '(func (export "_start")', '(start $begin) (func (export "_start")) (func $begin', 1
    ),
    "_routes": '(module (func (export "_routes") (loop (br 0))))',
}


@pytest.mark.parametrize("wat", ENDLESS.values(), ids=ENDLESS)
def test_a_cancelled_load_ends_a_guest(wat: str) -> None:
    cancelled = threading.Event()
    threading.Timer(0.3, cancelled.set).start()
    begin = time.monotonic()
    own, module, limits = own_loader(cancelled), warm(wat), Limits(time=3600)
    check = partial(own.check_instantiates, module, limits)
    call = partial(own.print_routes, module, limits, "/m") if "_routes" in module.functions else check
    with pytest.raises(LoadCancelled, match=r"^(instantiating guest.wat|running _routes of guest.wat) for \d+.\d s$"):
        call()
    assert time.monotonic() - begin < 60


@pytest.mark.usefixtures("propagating_loggers")
def test_a_guest_that_is_waited_for_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wagi_gateway")
    monkeypatch.setattr("wagi_gateway.compiler.compilation._FIRST_REPORT", 0.0)
    assert printed(b"", "(loop (br 0))", time="300ms").problems
    assert caplog.messages[0] == "running _routes of guest.wat for 0 s"


@pytest.mark.parametrize(("memory", "is_reused"), [("64MiB", True), ("65MiB", False)])
def test_an_engine_is_reused_for_equal_settings(tmp_path: Path, memory: str, is_reused: bool) -> None:
    def loader(memory: str, before: ModuleLoader | None = None) -> ModuleLoader:
        limits = Limits.model_validate({"memory": memory})
        config = Config(limits=limits, cache=CacheConfig(enabled=False))
        return ModuleLoader(config, tmp_path, Findings("file"), previous=before)

    before = loader("64MiB")
    assert (loader(memory, before).engine is before.engine) == is_reused
