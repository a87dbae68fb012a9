"""The terminal of `dev`: short lines, standard error below its request, no escape sequence of a guest."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.recordings import head, recording
from wagi_gateway.dev.builds import BuildResult
from wagi_gateway.dev.console import Console, keys
from wagi_gateway.observe.diagnosis import NO_NAMES
from wagi_gateway.sandbox.backtrace import Frame
from wagi_gateway.sandbox.invocation import Outcome


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - keys have no event
        await asyncio.sleep(0.01)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(has_color: bool = False) -> tuple[Console, Terminal]:
    output = Terminal()
    return Console(output, Path(), has_color=has_color), output


def test_a_request_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    console, output = shown()
    one = recording(head(target=b"/hello?secret=1"))
    one.status, one.sent = 200, 18
    console.request(one)
    assert re.fullmatch(r"\d\d:\d\d:\d\d GET /hello 200 \d+\.\d ms 18 B  #1\n", output.getvalue())
    assert not capsys.readouterr().out


def test_a_failure_expands() -> None:
    console, output = shown()
    one = recording(
        head(fields=[(b"cookie", b"a=abcdefgh")]),
        stdout=b"Hello, world\n",
        stderr=b"a\tline \x1b[31mred abcdefgh\n" * 3,
    )
    one.status, one.error, one.refused_at = 502, "502: no colon", 5
    console.banner("http://s", "http://i/#token=t", False)
    console.request(one)
    text = output.getvalue()
    assert f"  http://i/#/{one.number}\n" in text
    assert "  502: no colon\n" in text
    assert "  │ a   line \\x1b[31mred ••••••••\n" in text
    assert "from byte 5 on:\n  | Hello, world\n  |      ^\n" in text
    assert "\x1b" not in text


def test_a_trap_has_its_functions_and_what_they_lack(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("one\ntwo\n\tthree\nfour\n")
    output = Terminal()
    console = Console(output, tmp_path, has_color=False)
    outcomes = [
        Outcome("trap", frames=(Frame("f", "a.c", 3, 5),)),
        Outcome("trap", frames=(Frame("<wasm function 3>"),)),
    ]
    for outcome in outcomes:
        one = recording(outcome=outcome)
        one.failure = "trap: "
        console.request(one)
    first, second = output.getvalue().split("<wasm function 3>")
    assert "    at f  a.c:3:5\n          2 two\n     >    3     three\n          4 four\n" in first
    assert NO_NAMES not in first
    assert NO_NAMES in second


def test_advice_is_written_once_for_a_route() -> None:
    console, output = shown()
    one = recording(stdout="content-type: text/html\n\nhéllo".encode())
    one.status = 200
    console.request(one)
    console.request(one)
    assert output.getvalue().count("  worth a look: text/html has no charset, and the body is not ASCII") == 1
    console.clear()
    console.request(one)
    assert output.getvalue().count("worth a look") == 2


def test_long_standard_error_is_cut() -> None:
    console, output = shown()
    console.request(recording(stderr=b"x" * 10_000 + b"\n" + b"x\n" * 499))
    assert "… 300 more lines" in output.getvalue()
    assert "│ " + "x" * 4000 + "…\n" in output.getvalue()


def test_nothing_of_a_configuration_or_client_reaches_the_terminal_as_it_is() -> None:
    console, output = shown()
    console.build(BuildResult("/\x1b[31m", "a\x1b"))
    console.build(BuildResult("/\x1b[31m", "a", code=2, seconds=1.5))
    console.event("changed: /\x1b[31m", 0.0)
    console.request(recording(head(target=b"/\x1b[31m/abcdefgh", fields=[(b"cookie", b"a=abcdefgh")])))
    assert "\x1b" not in output.getvalue()
    assert "abcdefgh" not in output.getvalue()


@pytest.mark.parametrize(
    ("environment", "has_color"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_color(environment: dict[str, str], has_color: bool) -> None:
    output = Terminal()
    Console.of(output, Path(), environment).line("x", "red")
    assert ("\x1b[31m" in output.getvalue()) == has_color


def test_no_color_in_a_file() -> None:
    output = io.StringIO()
    console = Console.of(output, Path(), {})
    console.line("x", "red")
    console.clear()
    assert output.getvalue() == "x\n"


def test_builds_and_events() -> None:
    console, output = shown()
    console.build(BuildResult("/a", "make all"))
    console.output("/a", b"cc \xff\n")
    console.build(BuildResult("/a", "make all", code=0, seconds=1.5))
    console.build(BuildResult("/a", "make all", code=2, seconds=1.5))
    console.event("reloaded", 0.012)
    console.event("changed: /a", 0.0)
    console.banner("http://s", "http://i", True)
    console.banner("http://s", "http://i", False)
    console.clear()
    text = output.getvalue()
    for part in (
        "build /a: make all",
        "cc \ufffd",
        "built /a in 1.50 s",
        "code 2",
        "reloaded in 12 ms",
        "q quit",
        "Ctrl-C",
    ):
        assert part in text


def test_keys_call_actions(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = pty.openpty()
    pressed: list[str] = []
    actions = {key: lambda key=key: pressed.append(key) for key in "qr"}
    monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())

    async def main() -> None:
        with keys(actions) as has_keys:
            assert has_keys
            os.write(leader, b"xR")
            await until(lambda: pressed == ["r"])
            os.close(leader)
            await until(lambda: "q" in pressed)  # the terminal has gone

    with open(follower, closefd=True) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        asyncio.run(asyncio.wait_for(main(), 20))


def test_no_terminal_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    async def main() -> None:
        with keys({}) as has_keys:
            assert not has_keys

    asyncio.run(main())
