"""The lines of keys in a TOML file, and of what problems name."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wagi_gateway.config.positions import KeyPositions
from wagi_gateway.errors import Problem

TEXT = '''\
# a comment
default_host = "x"
server.listen = "here"

[limits]  # of all
time = "soon"

[[module]]
route = """
/a
# no comment
x = 1
"""
allowed_hosts = [
  "a", # ]
  "b",
]

[[ module ]]
"route" = "/b"
volumes = { "/data" = "d", "/e" = { path = "e", readonly = true } }
[module.limits]
memory = "lots"
[module.environment]
"A B" = "c"
[[static]]
route = "/s/..."
[[module]]
'''


@pytest.fixture(scope="module")
def positions() -> KeyPositions:
    return KeyPositions(Path("m.toml"), TEXT)


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("default_host",), 2),
        (("server", "listen"), 3),
        (("limits",), 5),
        (("limits", "time"), 6),
        (("module", 0), 8),
        (("module", 0, "route"), 9),
        (("module", 0, "allowed_hosts"), 14),
        (("module", 1), 19),
        (("module", 1, "volumes", "/e", "readonly"), 21),
        (("module", 1, "limits", "memory"), 23),
        (("static", 0, "route"), 27),
        (("module", 2), 28),
        (("module", 3), None),
        (("x",), None),
    ],
)
def test_the_line_of_a_key(positions: KeyPositions, key: tuple[str | int, ...], line: int | None) -> None:
    assert positions.line(*key) == line


@pytest.mark.parametrize(
    ("where", "what", "line"),
    [
        ("m.toml", 'server.listen = "here": not HOST:PORT', 3),
        ("m.toml", 'limits.time = "soon": not a duration', 6),
        ("m.toml", "default_host: an old key", 2),
        ("m.toml", "has no [[module]] table", None),
        ("m.toml: [[module]] 1 (/a)", 'allowed_hosts = "ftp://b": a guest can', 14),
        ("m.toml: [[module]] 1 (/a)", "module: missing; it has no default", 8),
        ("m.toml: [[module]] 2 (/b)", "volumes./e.readonly: unknown key", 21),
        ("m.toml: [[module]] 2 (/b)", 'volumes."/data" = "d": there is no directory', 21),
        ("m.toml: [[module]] 2 (/b): _routes", 'limits.memory = "lots": not a size', 23),
        ("m.toml: [[module]] 2 (/b)", "environment.A B: must be text", 25),
        ("m.toml: [[module]] 2 (/b)", "routes are odd", 19),
        ("m.toml: [[static]] 1 (/s/...)", 'route = "/s/...": is odd', 27),
        ("m.toml", "is not valid TOML: Expected '=' (at line 7, column 3)", 7),
        ("cache", "is not safe", None),
    ],
)
def test_the_line_of_a_problem(positions: KeyPositions, where: str, what: str, line: int | None) -> None:
    assert positions.line_of(Problem(where, what)) == line


@pytest.mark.parametrize("content", [None, b"\xff", b"[[module", b"a = [\n"])
def test_a_file_that_is_not_toml_has_no_lines(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "m.toml"
    if content is not None:
        path.write_bytes(content)
    assert KeyPositions.read(path).line("module", 0) is None


def test_the_work_is_bounded() -> None:
    items = "  [],\n" * 20_000  # each line could be the last one
    positions = KeyPositions(Path("m.toml"), f"a = 1\nb = [\n{items}]\nc = 1\n")
    assert (positions.line("a"), positions.line("b"), positions.line("c")) == (1, None, None)


@pytest.mark.parametrize(
    "line",
    ["a = " + "9" * 5000, "a = " + "[" * 50_000, "a = " + "[" * 200 + "]" * 200, "a" + ".a" * 20_000 + " = 1"],
    ids="digits|open arrays|arrays|keys".split("|"),
)
def test_a_line_beyond_the_bounds_ends_the_reading(line: str) -> None:
    positions = KeyPositions(Path("m.toml"), f"b = 1\n{line}\n")
    assert (positions.line("b"), positions.line("a")) == (1, None)


@pytest.mark.timeout(60)
def test_many_keys_with_a_problem_each() -> None:
    count = 20_000
    positions = KeyPositions(Path("m.toml"), "".join(f"k{number} = 1\n" for number in range(count)))
    lines = [positions.line_of(Problem("m.toml", f"k{number}: unknown key")) for number in range(count)]
    assert lines == list(range(1, count + 1))


_KEY = st.text("ab-_", min_size=1, max_size=3)
_VALUE = st.sampled_from(('"x"', "1", "[\n 1,\n]", '"""\n[x]\n"""', "{ a = 1, b = { c = [] } }", "'''\n# a\n'''"))


@given(st.dictionaries(_KEY, st.dictionaries(_KEY, _VALUE, max_size=3), max_size=4))
def test_each_key_is_where_its_line_begins(tables: dict[str, dict[str, str]]) -> None:
    text = "".join(
        f"[[{name}]]\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
        for name, table in tables.items()
    )
    lines = text.split("\n")
    positions = KeyPositions(Path("m.toml"), text)
    for name, (table,) in tomllib.loads(text).items():
        for key in table:
            line = positions.line(name, 0, key)
            assert line is not None
            assert lines[line - 1].startswith(f"{key} = ")
