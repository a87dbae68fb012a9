"""What to do about modules that were built for another host, by the imports that give the host away."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from ..errors import MAX_PROBLEMS, Problem
from .externs import Import

_REBUILD = "rebuild it for wasm32-wasip1"
_NO_JAVASCRIPT = "it calls JavaScript, which this gateway does not have; build it for WASI"
_MAX_NAMES = 1000
"""Imports of one module that are compared with those of known hosts."""


class _Host(NamedTuple):
    """A host that modules are built for, and what to do about such a module."""

    module: str
    """A regular expression for its import module."""
    name: str
    """A regular expression for the beginning of an import's name; empty for any name."""
    advice: str


_HOSTS = (
    _Host("gojs|go|_gotest", "", "it was built with GOOS=js; build it with GOOS=wasip1 (TinyGo: -target=wasip1)"),
    _Host(
        "env",
        r"(console|performance|Date|Math|process|crypto)\.|(abort|seed|trace)$",
        "it is AssemblyScript for JavaScript; build it with @assemblyscript/wasi-shim (AssemblyScript) and an "
        "asconfig.json such as that of samples/assemblyscript",
    ),
    _Host(
        "env",
        "_?emscripten_|em_|__syscall_|invoke_|__cxa_|__assert_fail$|_[a-z_]+_js$|gl[A-Z]|SDL_",
        "it is linked for JavaScript; link it with -sSTANDALONE_WASM (Emscripten)",
    ),
    _Host(
        "env",
        r"runtime\.|syscall/js\.",
        "it was built by TinyGo for JavaScript; build it with tinygo build -target=wasip1",
    ),
    _Host("env", "proxy_", "it is a proxy-wasm filter for Envoy, not a program for WASI"),
    _Host(
        "env",
        "(memory|__linear_memory|__indirect_function_table|__stack_pointer|__memory_base|__table_base)$",
        'it is linked with --import-memory or -shared; link it as a program that exports its own "memory"',
    ),
    _Host(
        "env",
        "",
        "env has what a compiler expects from its own host: build with @assemblyscript/wasi-shim (AssemblyScript), "
        "with -sSTANDALONE_WASM (Emscripten), or link the library that defines it (C)",
    ),
    _Host(
        r"__wbindgen.*|wbg|.*_bg(\.js|\.wasm)?",
        "",
        f"wasm-bindgen is for browsers; {_REBUILD}, as a program (a bin with main), without wasm-bindgen",
    ),
    _Host(
        "rb-js-abi-host",
        "",
        "it is Ruby with the gem js, for browsers; take usr/local/bin/ruby of "
        "ruby-3.4-wasm32-unknown-wasip1-full.tar.gz (releases of github.com/ruby/ruby.wasm)",
    ),
    _Host("wasi_unstable", "", f"it is WASI of 2019, before preview 1; {_REBUILD}"),
    _Host("wasi", "", "it needs threads, which guests do not have; build it without threads"),
    _Host(r"wasi:.*|\[export\].*|canonical_abi", "", f"it was made for a component (WASI preview 2); {_REBUILD}"),
    _Host("wasix_.*", "", f"WASIX is Wasmer's own; {_REBUILD}"),
    _Host("wasi_nn|wasi_ephemeral_.*", "", "it needs a proposal of WASI; build it for WASI preview 1 alone"),
    _Host("javy_.*", "", "it needs Javy's plugin beside it; build it without -C dynamic"),
    _Host("extism:.*", "", f"it is a plugin for Extism; {_REBUILD}, as a program (with main)"),
    _Host("(fermyon|spin|wasmcloud):.*", "", "it calls interfaces of its own host, which are not WASI's"),
    _Host(r"js|js_code|intrinsics|wasm:js-.*|[^:]*\.m?js", "", _NO_JAVASCRIPT),
    _Host(
        r"GOT\.(mem|func)", "", "it is linked as a library for dynamic linking; link it as a program, without -shared"
    ),
    _Host(r"global(\.Math)?|asm2wasm", "", "it was made by an old Emscripten; build it anew with -sSTANDALONE_WASM"),
    _Host("wasi_snapshot_preview1", "sock_", "sockets are WasmEdge's addition to WASI, and guests have none"),
    _Host("", "[a-e]$", f"its imports have the short names of Porffor; {_NO_JAVASCRIPT}"),
    _Host("a", "a$", "its imports have the short names of Emscripten; link it with -sSTANDALONE_WASM (Emscripten)"),
)
"""The hosts; the first one that matches an import module counts."""
_OWN = ("wasi_snapshot_preview1", "wasi_experimental_http")
"""The import modules of this gateway."""
_UNKNOWN = (
    "it was built for another host; build a program (with main) for WASI preview 1, such as wasm32-wasip1, or set "
    'missing_imports = "trap" if it runs without that host'
)


def describe(missing: Iterable[Import]) -> list[Problem]:
    """The problems of imports that have no definition: one for each import module of another host, with what to do,
    and one for each function that is missing in a module of this gateway."""
    names: dict[str, list[str]] = {}
    for wanted in missing:
        names.setdefault(wanted.module, []).append(wanted.name)
    sentences: list[str] = []
    left = sum(map(len, names.values()))
    for module, found in names.items():
        if len(sentences) > MAX_PROBLEMS:
            break
        sentences += _sentences(module, found)
        left -= len(found)
    if len(sentences) > MAX_PROBLEMS:
        rest = left + len(sentences) - MAX_PROBLEMS
        sentences[MAX_PROBLEMS:] = [f"imports {rest} more that this gateway does not provide"]
    return [Problem("", sentence) for sentence in sentences]


_INTERFACES = (
    (
        "wasi:http/",
        "a command answers by printing and has no wasi:http; build it without (componentize-js: --disable http "
        "--disable fetch-event)",
    ),
    ("wasi:", "it needs a proposal of WASI, or a later one; build it for WASI 0.2 alone, such as wasm32-wasip2"),
    (
        "(fermyon|spin|wasmcloud|wasmtime|fastly|componentize):",
        "it calls interfaces of its own host, which are not WASI's; build it for WASI 0.2 alone, such as wasm32-wasip2",
    ),
)
"""Beginnings of the names of interfaces that components import, as regular expressions, and what to do."""
_UNKNOWN_INTERFACE = (
    "it was built for another host, or is a part of a program: compose it with the rest, or build a program (with "
    "main) for WASI 0.2, such as wasm32-wasip2"
)


def advice_for_interface(names: Iterable[str]) -> str:
    """What to do about a component that imports interfaces which this gateway does not provide."""
    known = [advice for beginning, advice in _INTERFACES if any(re.match(beginning, name) for name in names)]
    return known[0] if known else _UNKNOWN_INTERFACE


def _sentences(module: str, names: Sequence[str]) -> list[str]:
    advice = _advice(module, names)
    if module in _OWN and not advice:
        return [f"imports {module}.{name}, which this gateway does not provide" for name in names]
    more = f" and {len(names) - 1} more of {module}" if len(names) > 1 else ""
    return [f"imports {module}.{names[0]}{more}, which this gateway does not provide; {advice or _UNKNOWN}"]


def _advice(module: str, names: Sequence[str]) -> str | None:
    for host in _HOSTS:
        if re.fullmatch(host.module, module) and any(re.match(host.name, name) for name in islice(names, _MAX_NAMES)):
            return host.advice
    return None
