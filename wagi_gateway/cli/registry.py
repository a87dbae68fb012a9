"""Commands for modules in registries and for the local store of pulled modules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .terminal import AuthFile, CacheDir, SettingsFile, exit_on_problems

cache = typer.Typer(
    help="List and remove modules that were pulled from registries.", no_args_is_help=True, rich_markup_mode=None
)

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
    from .images import pull_modules

    with exit_on_problems(exit_code=1):
        is_complete = pull_modules(what, settings_file, cache_dir, auth_file)
    raise typer.Exit(0 if is_complete else 1)


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
    from .images import push_module

    with exit_on_problems(exit_code=1):
        form: Literal["cncf", "wasm-to-oci"] = "wasm-to-oci" if wasm_to_oci else "cncf"
        push_module(module, reference, annotation or (), form, settings_file, auth_file)


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
    from .images import inspect_module

    with exit_on_problems(exit_code=1):
        inspect_module(what, settings_file, cache_dir, auth_file)


@cache.command("ls")
def list_(cache_dir: CacheDir = None, settings_file: SettingsFile = None) -> None:
    """List the modules that were pulled, the last used first."""
    from .images import list_store

    with exit_on_problems(exit_code=1):
        list_store(settings_file, cache_dir)


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
    from .images import prune_store

    with exit_on_problems(exit_code=1):
        prune_store(max_age, max_size, settings_file, cache_dir)
