"""The languages that there are templates for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """A language: its name on the command line, and what the README of a new module says of it."""

    name: str
    title: str
    source: str
    """The program, relative to the module's folder."""
    needs: str
    """The toolchain, with the line that installs it."""


_ZIG = "Zig's compiler, `python3 -m pip install ziglang==0.17.1`; its first run builds the C library, in half a minute"
_NODE = "Node.js 20 or later with npm"
LANGUAGES = {
    language.name: language
    for language in (
        Language("c", "C", "main.c", _ZIG),
        Language("rust", "Rust", "src/main.rs", "Rust with its target for WASI, `rustup target add wasm32-wasip1`"),
        Language("go", "Go", "main.go", "Go 1.21 or later"),
        Language(
            "python",
            "Python",
            "app.py",
            "Python 3.11 or later with pip: the build fetches componentize-py 0.25.1 from PyPI, and what\n"
            "requirements.txt names",
        ),
        Language(
            "javascript",
            "JavaScript",
            "main.js",
            f"{_NODE}: the build fetches ComponentizeJS 0.23.0, 390 MB with all that it needs",
        ),
        Language("assemblyscript", "AssemblyScript", "main.ts", _NODE),
        Language("zig", "Zig", "main.zig", _ZIG.partition(";")[0]),
        Language("wat", "WebAssembly text", "main.wat", "nothing: the gateway reads the text form itself"),
        Language(
            "quickjs",
            "JavaScript on QuickJS",
            "app/main.js",
            "nothing: `qjs.wasm` is [QuickJS-NG](https://github.com/quickjs-ng/quickjs) 0.16.2, under the licence\n"
            "in `qjs.LICENSE`",
        ),
    )
}
"""By name, in the order of the question for it."""
