"""What to do about modules that were built for another host, by the import module that gives the host away."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import MAX_PROBLEMS, Problem
from .externs import Import

_REBUILD = "rebuild it for wasm32-wasip1"
_THREADS = "it needs threads, which guests do not have; build it without threads"
_BINDGEN = f"wasm-bindgen is for browsers; {_REBUILD}, without wasm-bindgen"
_GO = "it was built with GOOS=js; build it with GOOS=wasip1"
_ADVICE = {
    "wasi_unstable": f"it is WASI of 2019, before preview 1; {_REBUILD}",
    "wasi": _THREADS,
    "env": (
        "env has what a compiler expects from its own host: build with @assemblyscript/wasi-shim (AssemblyScript), "
        "with -sSTANDALONE_WASM (Emscripten), or link the library that defines it (C)"
    ),
    "gojs": _GO,
    "go": _GO,
    "wbg": _BINDGEN,
    "wasix_32v1": f"WASIX is Wasmer's own; {_REBUILD}",
}
_ADVICE_BY_PREFIX = {
    "wasi:": f"it was made for a component (WASI preview 2); {_REBUILD}",
    "__wbindgen": _BINDGEN,
}


def describe(missing: Iterable[Import]) -> list[Problem]:
    """The problems of imports that have no definition: one for each, or one for all of a known host's import module."""
    names: dict[str, list[str]] = {}
    for wanted in missing:
        key = wanted.module if _advice(wanted.module) else f"{wanted.module}.{wanted.name}"
        names.setdefault(key, []).append(f"{wanted.module}.{wanted.name}")
    problems = [Problem("", _sentence(key, found)) for key, found in names.items()]
    if len(problems) > MAX_PROBLEMS:
        rest = len(problems) - MAX_PROBLEMS
        problems[MAX_PROBLEMS:] = [Problem("", f"imports {rest} more that this gateway does not provide")]
    return problems


def _sentence(module: str, names: list[str]) -> str:
    more = f" and {len(names) - 1} more of {module}" if len(names) > 1 else ""
    advice = _advice(module)
    return f"imports {names[0]}{more}, which this gateway does not provide" + (f"; {advice}" if advice else "")


def _advice(module: str) -> str | None:
    if known := _ADVICE.get(module):
        return known
    return next((advice for prefix, advice in _ADVICE_BY_PREFIX.items() if module.startswith(prefix)), None)
