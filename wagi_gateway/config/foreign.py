"""Configurations of other programs, which their keys give away, and what to do with each."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_WANTED = "a modules.toml is wanted here"


def is_spin_manifest(tables: Mapping[str, Any]) -> bool:
    """Whether tables are those of a `spin.toml`."""
    return "spin_manifest_version" in tables or "spin_version" in tables or {"trigger", "component"} <= tables.keys()


def convert_command(path: Path) -> str:
    """The command that makes a `modules.toml` of a Spin manifest, beside the manifest."""
    target = path.with_name("modules.toml")
    return f"wagi-gateway convert {shlex.quote(str(path))} > {shlex.quote(str(target))}"


def name_foreign(path: Path, tables: Mapping[str, Any]) -> str | None:
    """What a TOML file without `[[module]]` is, if it is the configuration of another program, and what to do."""
    keys = tables.keys()
    if "module" in keys:
        return None
    if is_spin_manifest(tables):
        return f"is a Spin manifest; run: {convert_command(path)}"
    if "bindleVersion" in keys or {"bindle", "parcel"} <= keys:
        return (
            "is a Bindle invoice, and bindles are gone; keep each parcel of the type application/wasm as a file, and "
            "write a [[module]] with its route and the file"
        )
    if _is_wasmtime_cache(tables):
        return (
            "is the configuration of wasmtime's cache (WAGI's cache.toml), which the gateway does not need: it keeps "
            "compiled modules in the directory of [cache] in modules.toml; name the modules.toml"
        )
    if "package" in keys or "workspace" in keys:
        return f"is a manifest of Cargo; {_WANTED}, with the built .wasm file as module"
    if "build-system" in keys or "project" in keys:
        return f"is a Python project's pyproject.toml; {_WANTED}"
    if "compatibility_date" in keys:
        return f"is a configuration of Cloudflare's wrangler; {_WANTED}"
    return None


def _is_wasmtime_cache(tables: Mapping[str, Any]) -> bool:
    cache = tables.get("cache")
    if tables.keys() != {"cache"} or not isinstance(cache, dict):
        return False
    return any("-" in key for key in cache) or cache.keys() <= {"enabled", "directory"}
