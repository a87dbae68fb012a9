"""What the commands about registries do: with modules in registries, and with the local store of pulled modules."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pydantic import ByteSize, TypeAdapter, ValidationError

from ..compiler.interface import assemble, read_interface
from ..config.file import ConfigFile, cache_directory, config_from_tables, read_config, read_toml
from ..config.image_reference import ImageReference
from ..config.values import parse_duration
from ..errors import Problem, StartupError
from ..sources.directory import DirectoryRefused
from ..sources.file import read_module
from ..sources.modules import create_puller, is_image, references
from ..sources.oci.errors import RegistryError
from .terminal import fail, print_table, print_warnings, pulling, setting_overrides

if TYPE_CHECKING:
    from ..sources.oci.puller import Inspection, OnProgress, Pulled, Puller
    from ..sources.oci.repository import Form
    from ..sources.oci.store import Entry, Store

_DAY = 86400.0
_AGE = re.compile(r"(\d+)d")


def pull_modules(what: str, settings_file: Path | None, cache_dir: str | None, auth_file: str | None) -> bool:
    """Pulls the modules of a configuration, or one; returns whether all are pulled and stored. Raises StartupError,
    RegistryError."""
    file, wanted = _wanted(what, settings_file, cache_dir, auth_file)
    with pulling() as on_progress:
        puller = _puller(file, on_progress)
        results = puller.pull_all([(one, "always") for one in wanted], file.config.cache.max_module)
    is_complete = _print_pulled(wanted, results)
    print_warnings(Problem("", text) for text in puller.warnings)
    return is_complete


def push_module(
    module: Path,
    reference: str,
    annotations: Sequence[str],
    form: Form,
    settings_file: Path | None,
    auth_file: str | None,
) -> None:
    """Pushes a module, and prints the reference with its digest. Raises StartupError, RegistryError."""
    target = _parse(reference)
    named = dict(_annotation(text) for text in annotations)
    puller = _puller(_settings(settings_file, None, auth_file))
    data = assemble(str(module), read_module(module).data, is_text=module.suffix == ".wat")
    digest = puller.push(data, f"{module.stem}.wasm", target, named, form)
    print_warnings(Problem("", text) for text in puller.warnings)
    print(f"{target.with_digest(digest)}")


def inspect_module(what: str, settings_file: Path | None, cache_dir: str | None, auth_file: str | None) -> None:
    """Prints what a module is made of. Raises StartupError, RegistryError."""
    if _is_module_path(what):
        source = read_module(Path(what))
        found = _Inspected([], source.data, source.digest)
    else:
        found = _inspect_image(what, settings_file, cache_dir, auth_file)
    imports, exports = read_interface(what, found.data)
    rows = [*found.rows, ("module", f"sha256:{found.digest}  {_size(len(found.data))}")]
    rows += [("import", _import(text)) for text in imports] + [("export", text) for text in exports]
    print_table(("what", "value"), rows)


def _import(text: str) -> str:
    """An import, with what to do if the gateway does not provide it."""
    from ..compiler.component import is_provided
    from ..sandbox.shim import shim_exports

    name, _, kind = text.partition("  ")
    if is_provided(name, kind) or name in map(".".join, shim_exports()):
        return text
    if kind.startswith("func ("):  # of a core module
        return f'{text}  (not provided; missing_imports = "trap" makes a call of it trap)'
    return f"{text}  (not provided)"


def list_store(settings_file: Path | None, cache_dir: str | None) -> None:
    """Prints the modules in the store. Raises StartupError."""
    entries = _store(_settings(settings_file, cache_dir, None)).entries()
    print_table(("reference", "digest", "size", "pulled", "used"), [_row(entry) for entry in entries])


def prune_store(max_age: str | None, max_size: str | None, settings_file: Path | None, cache_dir: str | None) -> None:
    """Removes modules from the store, and prints them. Raises StartupError."""
    age, size = _parse_age(max_age), _parse_size(max_size)
    try:
        removed = _store(_settings(settings_file, cache_dir, None)).prune(age, size)
    except OSError as error:
        raise StartupError(Problem("cache", f"{error.filename} cannot be removed: {error.strerror}")) from None
    for entry in removed:
        print(f"{', '.join(entry.tags) or entry.image.reference} removed ({_size(entry.image.size)})")


def _wanted(
    what: str, settings_file: Path | None, cache_dir: str | None, auth_file: str | None
) -> tuple[ConfigFile, list[ImageReference]]:
    """The settings, and the references that a configuration's modules have, or the one that `what` is.

    Raises StartupError.
    """
    path = Path(what)
    if path.suffix in (".toml", ".yaml", ".yml") or path.is_file():
        file = _checked(read_config(path, setting_overrides(cache_dir, auth_file), settings_file))
        _check_references(file)
        return file, [reference for reference, _ in references(file.config.module)]
    return _settings(settings_file, cache_dir, auth_file), [_parse(what)]


def _settings(path: Path | None, cache_dir: str | None, auth_file: str | None) -> ConfigFile:
    """The settings of a file without its modules. Raises StartupError."""
    tables = (read_toml(path) if path else {}) | {"module": []}
    return _checked(config_from_tables(path or Path("command line"), tables, setting_overrides(cache_dir, auth_file)))


def _checked(file: ConfigFile) -> ConfigFile:
    """The same configuration. Raises StartupError with its problems."""
    if file.problems:
        raise StartupError(*file.problems, warnings=file.warnings)
    return file


def _check_references(file: ConfigFile) -> None:
    """Raises StartupError for malformed references, and for a configuration without references."""
    mistakes = []
    images = [(number, module.module) for number, module in enumerate(file.config.module) if is_image(module.module)]
    for number, image in images:
        try:
            ImageReference.parse(image)
        except ValueError as error:
            mistakes.append(Problem(file.where(number), f"module = {error}"))
    if not images:
        mistakes.append(Problem(str(file.path), "no module comes from a registry; there is nothing to pull"))
    if mistakes:
        raise StartupError(*mistakes)


def _print_pulled(wanted: Sequence[ImageReference], results: Sequence[Pulled | RegistryError]) -> bool:
    """Prints each reference with its digest; returns whether every module is pulled and stored."""
    failures = dict.fromkeys(str(pulled) for pulled in results if isinstance(pulled, RegistryError))
    for failure in failures:
        fail(failure)
    is_complete = not failures
    for reference, pulled in zip(wanted, results, strict=True):
        if isinstance(pulled, RegistryError):
            continue
        print_warnings(Problem(str(reference), text) for text in pulled.warnings)
        is_complete &= pulled.is_stored and not pulled.is_stale
        print(f"{reference.with_digest(pulled.manifest_digest)} {'pulled' if pulled.is_new else 'is here already'}")
    return is_complete


class _Inspected(NamedTuple):
    """A module's bytes, their SHA-256 in hex, and the rows about its image."""

    rows: list[tuple[str, str]]
    data: bytes
    digest: str


def _is_module_path(what: str) -> bool:
    path = Path(what)
    return path.exists() or path.suffix in (".wasm", ".wat") or what.startswith((".", "/"))


def _inspect_image(what: str, settings_file: Path | None, cache_dir: str | None, auth_file: str | None) -> _Inspected:
    """Pulls the module of a reference. Raises StartupError, RegistryError."""
    file = _settings(settings_file, cache_dir, auth_file)
    reference = _parse(what)
    with pulling() as on_progress:
        found = _puller(file, on_progress).inspect(reference, "always", file.config.cache.max_module)
    print_warnings(Problem(str(reference), text) for text in found.pulled.warnings)
    return _Inspected(_image_rows(reference, found), found.pulled.data, found.pulled.digest)


def _image_rows(reference: ImageReference, found: Inspection) -> list[tuple[str, str]]:
    rows = [("reference", str(reference)), ("digest", found.pulled.manifest_digest)]
    rows += [("layer", f"{layer.digest}  {layer.media_type}  {_size(layer.size)}") for layer in found.manifest.layers]
    return rows + [("annotation", f"{name}={value}") for name, value in found.manifest.annotations.items()]


def _puller(file: ConfigFile, on_progress: OnProgress | None = None) -> Puller:
    """The puller with the store of the cache directory. Raises StartupError if the directory is refused."""
    try:
        return create_puller(file.config, file.base, cache_directory(file), on_progress)
    except DirectoryRefused as refused:
        raise StartupError(Problem("cache", f"{refused}; choose another one with --cache-dir")) from None


def _store(file: ConfigFile) -> Store:
    """The store of the cache directory. Raises StartupError if the directory is refused."""
    from ..sources.oci.store import Store

    try:
        return Store(cache_directory(file) / "registry")
    except DirectoryRefused as refused:
        raise StartupError(Problem("cache", str(refused))) from None


def _parse(text: str) -> ImageReference:
    try:
        return ImageReference.parse(text)
    except ValueError as error:
        raise StartupError(Problem("", str(error))) from None


def _annotation(text: str) -> tuple[str, str]:
    """The name and value of `NAME=VALUE`. Raises StartupError."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise StartupError(Problem("--annotation", f'"{text}": write NAME=VALUE'))
    return name, value


def _parse_age(text: str | None) -> float | None:
    """An age in seconds: a duration, or a number of days. Raises StartupError."""
    if text is None:
        return None
    if match := _AGE.fullmatch(text):
        return int(match[1]) * _DAY
    try:
        return float(cast(Any, parse_duration(text)))
    except ValueError:
        raise StartupError(Problem("--max-age", f'"{text}": write for example "30d" or "12h"')) from None


def _parse_size(text: str | None) -> int | None:
    """A size in bytes. Raises StartupError."""
    if text is None:
        return None
    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        raise StartupError(Problem("--max-size", f'"{text}": write for example "500MiB"')) from None


def _row(entry: Entry) -> tuple[str, str, str, str, str]:
    image = entry.image
    return (
        ", ".join(entry.tags) or image.reference,
        image.digest,
        _size(image.size),
        datetime.fromtimestamp(image.pulled, UTC).strftime("%Y-%m-%d %H:%M"),
        _ago(time.time() - entry.used),
    )


def _size(size: int) -> str:
    return ByteSize(size).human_readable()


def _ago(seconds: float) -> str:
    for name, length in (("d", _DAY), ("h", 3600.0), ("m", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.0f}{name} ago"
    return "now"
