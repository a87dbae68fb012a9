"""The commands about modules in registries, and about those that were pulled."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
import wasmtime
from pydantic import ByteSize, TypeAdapter, ValidationError

from ..config.file import ConfigFile, cache_directory, config_from_tables, read_config, read_toml
from ..config.image_reference import ImageReference
from ..config.values import PullPolicy, parse_duration
from ..errors import Problem, StartupError
from ..sources.directory import DirectoryRefused
from ..sources.file import read_module
from ..sources.modules import create_puller, is_image, references
from ..sources.oci.errors import RegistryError
from .terminal import AuthFile, CacheDir, SettingsFile, fail, print_table, problems, pulling, settings, warn

if TYPE_CHECKING:
    from ..sources.oci.puller import OnProgress, Puller
    from ..sources.oci.repository import Form
    from ..sources.oci.store import Entry, Store

cache = typer.Typer(
    help="List and remove modules that were pulled from registries.", no_args_is_help=True, rich_markup_mode=None
)

_CORE, _COMPONENT = b"\0asm\1\0\0\0", b"\0asm\r\0\1\0"
_DAY = 86400.0
_AGE = re.compile(r"(\d+)d")

Reference = Annotated[
    str, typer.Argument(metavar="REF", help="registry/repository:tag, with or without oci:", show_default=False)
]


def pull(
    what: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG|REF", help="A modules.toml or Pod manifest, or a reference.", show_default=False
        ),
    ],
    settings_file: SettingsFile = None,
    cache_dir: CacheDir = None,
    auth_file: AuthFile = None,
) -> None:
    """Pull modules, so that a start needs no network.

    Those of CONFIG, or the one of REF. Each is asked for anew, unless it is pinned by its digest. Exits with 1 if one
    of them cannot be had, or not kept.
    """
    with problems(exit_code=1):
        is_file = Path(what).suffix in (".toml", ".yaml", ".yml") or Path(what).is_file()
        if is_file:
            file = _checked(read_config(Path(what), settings(cache_dir, auth_file), settings_file))
            _check_references(file)
        else:
            file = _settings(settings_file, cache_dir, auth_file)
        wanted = [one for one, _ in references(file.config.module)] if is_file else [_parse(what)]
        policy: PullPolicy = "always"
        with pulling() as on_progress:
            puller = _puller(file, on_progress)
            results = puller.pull_all([(one, policy) for one in wanted], file.config.cache.max_module)
    failures = dict.fromkeys(str(pulled) for pulled in results if isinstance(pulled, RegistryError))
    for failure in failures:
        fail(failure)
    has_failed = bool(failures)
    for reference, pulled in zip(wanted, results, strict=True):
        if isinstance(pulled, RegistryError):
            continue
        warn(Problem(str(reference), text) for text in pulled.warnings)
        has_failed |= pulled.is_stale or not pulled.is_stored
        print(f"{reference.with_digest(pulled.manifest_digest)} {'pulled' if pulled.is_new else 'is here already'}")
    warn(Problem("", text) for text in puller.warnings)
    raise typer.Exit(1 if has_failed else 0)


def push(
    module: Annotated[Path, typer.Argument(metavar="MODULE", help="The .wasm or .wat file.", show_default=False)],
    reference: Reference,
    annotation: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Annotation of the manifest; repeatable."),
    ] = None,
    wasm_to_oci: Annotated[
        bool, typer.Option("--wasm-to-oci", help="Push it in the form that WAGI and Krustlet can pull, too.")
    ] = False,
    settings_file: SettingsFile = None,
    auth_file: AuthFile = None,
) -> None:
    """Push MODULE to a registry, as the CNCF lays Wasm artefacts out.

    Prints the reference with its digest.
    """
    with problems(exit_code=1):
        target = _parse(reference)
        annotations = dict(_annotation(text) for text in annotation or ())
        puller = _puller(_settings(settings_file, None, auth_file))
        form: Form = "wasm-to-oci" if wasm_to_oci else "cncf"
        digest = puller.push(_assembled(module), f"{module.stem}.wasm", target, annotations, form)
    warn(Problem("", text) for text in puller.warnings)
    print(f"{target.with_digest(digest)}")


def inspect(
    what: Annotated[
        str, typer.Argument(metavar="MODULE|REF", help="A .wasm file, or a reference.", show_default=False)
    ],
    settings_file: SettingsFile = None,
    cache_dir: CacheDir = None,
    auth_file: AuthFile = None,
) -> None:
    """Show what a module is made of.

    Imports and exports; of a reference also its layers, sizes and digest.
    """
    with problems(exit_code=1):
        path = Path(what)
        rows: list[tuple[str, str]] = []
        if path.exists() or path.suffix in (".wasm", ".wat") or what.startswith((".", "/")):
            source = read_module(path)
            data, digest = source.data, source.digest
        else:
            file = _settings(settings_file, cache_dir, auth_file)
            reference = _parse(what)
            with pulling() as on_progress:
                found = _puller(file, on_progress).inspect(reference, "always", file.config.cache.max_module)
            warn(Problem(str(reference), text) for text in found.pulled.warnings)
            data, digest = found.pulled.data, found.pulled.digest
            rows.append(("reference", str(reference)))
            rows.append(("digest", found.pulled.manifest_digest))
            rows += [
                ("layer", f"{layer.digest}  {layer.media_type}  {_size(layer.size)}") for layer in found.manifest.layers
            ]
            rows += [("annotation", f"{name}={value}") for name, value in found.manifest.annotations.items()]
        rows.append(("module", f"sha256:{digest}  {_size(len(data))}"))
        rows += _interface(what, data)
    print_table(("what", "value"), rows)


@cache.command("ls")
def list_(cache_dir: CacheDir = None, settings_file: SettingsFile = None) -> None:
    """List the modules that were pulled, the last used first."""
    with problems(exit_code=1):
        entries = _store(_settings(settings_file, cache_dir, None)).entries()
    print_table(("reference", "digest", "size", "pulled", "used"), [_row(entry) for entry in entries])


@cache.command()
def prune(
    max_age: Annotated[
        str | None, typer.Option(metavar="AGE", help='Remove what was not used for so long: "30d", "12h".')
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help='Remove the longest unused until this is left: "1GiB".')
    ] = None,
    cache_dir: CacheDir = None,
    settings_file: SettingsFile = None,
) -> None:
    """Remove modules that were pulled.

    Without options, only what is damaged or left over.
    """
    with problems(exit_code=1):
        age, size = _parse_age(max_age), _parse_size(max_size)
        try:
            removed = _store(_settings(settings_file, cache_dir, None)).prune(age, size)
        except OSError as error:
            raise StartupError(Problem("cache", f"{error.filename} cannot be removed: {error.strerror}")) from None
    for entry in removed:
        print(f"{', '.join(entry.tags) or entry.image.reference} removed ({_size(entry.image.size)})")


def _settings(path: Path | None, cache_dir: str | None, auth_file: str | None) -> ConfigFile:
    """The settings of a file, whether it has modules or not. Raises StartupError."""
    tables = (read_toml(path) if path else {}) | {"module": []}
    return _checked(config_from_tables(path or Path("command line"), tables, settings(cache_dir, auth_file)))


def _checked(file: ConfigFile) -> ConfigFile:
    """Raises StartupError."""
    if file.problems:
        raise StartupError(*file.problems, warnings=file.warnings)
    return file


def _check_references(file: ConfigFile) -> None:
    """Raises StartupError for references that are none, and for a file without any."""
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


def _puller(file: ConfigFile, on_progress: OnProgress | None = None) -> Puller:
    """Raises StartupError."""
    try:
        return create_puller(file.config, file.base, cache_directory(file), on_progress)
    except DirectoryRefused as refused:
        raise StartupError(Problem("cache", f"{refused}; choose another one with --cache-dir")) from None


def _store(file: ConfigFile) -> Store:
    """Raises StartupError."""
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


def _assembled(module: Path) -> bytes:
    """The module in binary form, and valid unless it is none of ours. Raises StartupError."""
    data = read_module(module).data
    with _explained(module):
        if module.suffix == ".wat" and not data.startswith(b"\0asm"):
            data = bytes(wasmtime.wat2wasm(data))
        if data.startswith(_CORE):
            wasmtime.Module.validate(wasmtime.Engine(), data)
    return data


@contextmanager
def _explained(what: object) -> Iterator[None]:
    """Raises StartupError for what wasmtime does not like."""
    try:
        yield
    except wasmtime.WasmtimeError as error:
        raise StartupError(Problem(str(what), f"is no module: {str(error).splitlines()[0]}")) from None


def _annotation(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise StartupError(Problem("--annotation", f'"{text}": write NAME=VALUE'))
    return name, value


def _parse_age(text: str | None) -> float | None:
    if text is None:
        return None
    if match := _AGE.fullmatch(text):
        return int(match[1]) * _DAY
    try:
        return float(cast(Any, parse_duration(text)))
    except ValueError:
        raise StartupError(Problem("--max-age", f'"{text}": write for example "30d" or "12h"')) from None


def _parse_size(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        raise StartupError(Problem("--max-size", f'"{text}": write for example "500MiB"')) from None


def _interface(name: str, data: bytes) -> list[tuple[str, str]]:
    """What a module imports and exports. Raises StartupError."""
    if data.startswith(_COMPONENT):
        raise StartupError(Problem(name, "is a component (WASI preview 2), not a module"))
    with _explained(name):
        module = wasmtime.Module(wasmtime.Engine(), data)
    imports = [("import", f"{one.module}.{one.name}  {_type(one.type)}") for one in module.imports]
    return imports + [("export", f"{one.name}  {_type(one.type)}") for one in module.exports]


def _type(kind: object) -> str:
    if isinstance(kind, wasmtime.FuncType):
        parameters, results = ([str(value) for value in values] for values in (kind.params, kind.results))
        return f"func ({', '.join(parameters)}) -> ({', '.join(results)})"
    return type(kind).__name__.removesuffix("Type").lower()


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
