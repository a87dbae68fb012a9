"""The TOML writer: its layout, and that tomllib reads the same tables."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wagi_gateway.config.pod.toml import write_toml


def test_what_it_looks_like() -> None:
    tables = {
        "server": {"listen": "0.0.0.0:3001"},
        "module": [
            {
                "route": "/hello/...",
                "module": "oci:example.com/hello:v1",
                "allowed_hosts": ["https://a.example"],
                "volumes": {"/data": {"path": "/srv", "read_only": True}, "/tmp": {"temporary": "tmp"}},
                "environment": {"GREETING": 'a\n"b"', "LONG": "x" * 80},
            },
            {"route": "/", "module": "oci:example.com/index:v1", "limits": {"memory": "128MiB"}},
        ],
    }
    assert (
        write_toml(tables, ["container hello", "container\nindex"])
        == f"""\
[server]
listen = "0.0.0.0:3001"

[[module]] # container hello
route = "/hello/..."
module = "oci:example.com/hello:v1"
allowed_hosts = ["https://a.example"]
volumes = {{"/data" = {{path = "/srv", read_only = true}}, "/tmp" = {{temporary = "tmp"}}}}

[module.environment]
GREETING = "a\\n\\"b\\""
LONG = "{"x" * 80}"

[[module]] # container index
route = "/"
module = "oci:example.com/index:v1"
limits = {{memory = "128MiB"}}
"""
    )
    assert tomllib.loads(write_toml(tables)) == tables


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_MAPPING = st.dictionaries(
    _TEXT, st.one_of(_TEXT, st.dictionaries(_TEXT, _TEXT | st.booleans(), max_size=3)), max_size=6
)
_TABLE = st.dictionaries(_TEXT, st.one_of(_TEXT, st.lists(_TEXT, max_size=3), st.integers(0, 99), _MAPPING), max_size=6)


@given(
    server=_TABLE,
    modules=st.lists(_TABLE, max_size=4),
    comments=st.lists(st.from_regex(r"[a-z0-9.-]{1,63}"), max_size=4),
)
def test_tomllib_reads_the_same(server: dict[str, Any], modules: list[dict[str, Any]], comments: list[str]) -> None:
    tables = {"server": server, **({"module": modules} if modules else {})}
    assert tomllib.loads(write_toml(tables, comments)) == tables
