"""wagi-gateway: CGI for WebAssembly, one fresh sandbox per request.

The public names, for a program that serves the gateway under another ASGI server; each is imported at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    from .app import create_app
    from .config.file import read_config
    from .errors import StartupError

__all__ = ["StartupError", "__version__", "create_app", "read_config"]

_MODULES = {"StartupError": "errors", "create_app": "app", "read_config": "config.file"}
"""The module that defines each name."""


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
