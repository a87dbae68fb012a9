"""Importing a module of the package changes no state of the process, and none of other libraries."""

from __future__ import annotations

import ast
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import wagi_gateway
from tests.conftest import ROOT

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(wagi_gateway.__path__, "wagi_gateway.")
    if not module.name.endswith("__main__")
)
_IMPORT_ALL = """
import contextlib, importlib, json, locale, logging, os, signal, socket, ssl, sys, threading, warnings

libraries, modules = map(json.loads, sys.argv[1:])
for name in libraries:  # imported first, because their own import may have effects
    with contextlib.suppress(ImportError):
        importlib.import_module(name)

def state():
    context = ssl.create_default_context(capath=os.devnull)  # reading the system's authorities takes long
    loggers = {name: logging.getLogger(name) for name in list(logging.root.manager.loggerDict)}
    return {
        "logging": [logging._srcfile, logging.logThreads, logging.logProcesses, logging.raiseExceptions],
        "root logger": [logging.root.level, logging.root.disabled, repr(logging.root.handlers)],
        **{
            f"logger {name}": [logger.level, logger.propagate, logger.disabled, repr(logger.handlers + logger.filters)]
            for name, logger in loggers.items()
            if name.partition(".")[0] != "wagi_gateway"
        },
        "warnings": repr(warnings.filters),
        "signals": {int(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "locale": locale.setlocale(locale.LC_ALL),
        "socket": socket.getdefaulttimeout(),
        "ssl": [context.minimum_version, context.options, context.verify_mode, repr(ssl._create_default_https_context)],
        "environment": dict(os.environ),
        "directory": os.getcwd(),
        "hooks": [repr(sys.excepthook), repr(threading.excepthook), repr(sys.stdout), repr(sys.stderr)],
        "threads": [thread.name for thread in threading.enumerate()],
    }

new_logger = [0, True, False, "[]"]
effects, before = {}, state()
for name in modules:
    importlib.import_module(name)
    after = state()
    changed = [key for key, value in after.items() if value != before.get(key, new_logger)]
    if changed:
        effects[name] = changed
    before = after
print(json.dumps(effects))
"""


def libraries() -> set[str]:
    """Every module of other projects that the package imports anywhere."""
    found = set()
    for path in (ROOT / "wagi_gateway").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def effects(directory: Path, modules: list[str]) -> dict[str, list[str]]:
    """The changes by the import of each of these modules, in a fresh interpreter."""
    command = [sys.executable, "-c", _IMPORT_ALL, json.dumps(sorted(libraries())), json.dumps(modules)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=directory)
    assert result.returncode == 0, result.stderr
    found: dict[str, list[str]] = json.loads(result.stdout)
    return found


def test_imports_have_no_effects() -> None:
    assert len(MODULES) > 100
    assert effects(ROOT, MODULES) == {}


def test_an_effect_is_found(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "import logging, signal, socket, warnings\n"
        "logging._srcfile = None\n"
        "logging.getLogger('urllib3').setLevel('ERROR')\n"
        "socket.setdefaulttimeout(1)\n"
        "signal.signal(signal.SIGUSR1, signal.SIG_IGN)\n"
        "warnings.simplefilter('ignore')\n"
    )
    assert effects(tmp_path, ["noisy"]) == {"noisy": ["logging", "logger urllib3", "warnings", "signals", "socket"]}
