"""The modules of a configuration: reads files and pulls images."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.image_reference import ImageReference
from ..config.settings import Config, ModuleConfig
from ..config.values import PullPolicy
from ..errors import Problem, StartupError
from .directory import DirectoryRefused
from .file import WasmSource, read_module, resolve
from .oci.credentials import CredentialSource
from .oci.errors import RegistryError

if TYPE_CHECKING:  # the modules for registries are imported only for a configuration that names one
    from .oci.puller import OnProgress, Puller
    from .oci.store import Store

_Wanted = tuple[ImageReference, PullPolicy]
"""An image and the policy of its pull."""


def is_image(reference: str) -> bool:
    """Whether a module reference names an image in a registry."""
    return reference[:4].lower() == "oci:"


def create_puller(config: Config, base: Path, directory: Path, on_progress: OnProgress | None = None) -> Puller:
    """Creates a puller with a store under the cache `directory`. Raises DirectoryRefused."""
    from .oci.puller import Puller
    from .oci.store import Store

    return Puller(Store(directory / "registry"), config.registries, _credential_source(config, base), base, on_progress)


def auth_files(config: Config, base: Path) -> list[Path]:
    """The files that are searched for credentials of registries, whether they exist or not."""
    return [file.path for file in _credential_source(config, base).files()]


def _credential_source(config: Config, base: Path) -> CredentialSource:
    named = [base / config.auth_file] if config.auth_file else []
    return CredentialSource(named, os.environ, config.registries, base)


class ModuleSources:
    """Reads modules. Images are pulled concurrently, by the constructor."""

    def __init__(
        self, config: Config, base: Path, cache_directory: Path, on_progress: OnProgress | None = None
    ) -> None:
        """`base` is the base of relative paths."""
        self.warnings: list[Problem] = []
        """Warnings about registries as a whole."""
        self._base = base
        # One file, because successive routes often share one, and all files together may not fit into memory.
        self._read_file = functools.lru_cache(maxsize=1)(read_module)
        self._images: dict[_Wanted, WasmSource | RegistryError] = {}
        self._image_warnings: dict[_Wanted, tuple[str, ...]] = {}
        self._store: Store | None = None
        self._digests: list[str] = []
        self.pulls: Counter[str] = Counter()
        """Pulled images: `downloaded`, `stored` before, or `stale`."""
        wanted = references(config.module)
        if wanted:
            self._pull(config, cache_directory, wanted, on_progress)

    def read(self, module: ModuleConfig) -> tuple[WasmSource, tuple[str, ...]]:
        """Returns a module and its warnings. Raises StartupError, RegistryError and ValueError."""
        if is_image(module.module):
            wanted = ImageReference.parse(module.module), _policy(module)
            image = self._images[wanted]
            if isinstance(image, RegistryError):
                raise image
            return image, self._image_warnings[wanted]
        resolved = resolve(module.module, self._base)
        warnings = [resolved.warning] if resolved.warning else []
        if module.pull_policy:
            warnings.append("pull_policy has no effect on a file")
        return self._read_file(resolved.path), tuple(warnings)

    def toucher(self) -> Callable[[], None]:
        """Returns a function that marks the images as used; it keeps no reference to the modules' bytes."""
        return functools.partial(self._store.touch, self._digests) if self._store else lambda: None

    def _pull(
        self, config: Config, cache_directory: Path, wanted: list[_Wanted], on_progress: OnProgress | None
    ) -> None:
        from .oci.store import Store

        try:
            self._store = Store(cache_directory / "registry")
            puller = create_puller(config, self._base, cache_directory, on_progress)
        except DirectoryRefused as refused:
            raise StartupError(Problem("cache", f"modules from registries have no place: {refused}")) from None
        for image, pulled in zip(wanted, puller.pull_all(wanted, config.cache.max_module), strict=True):
            if isinstance(pulled, RegistryError):
                self._images[image] = pulled
            else:
                self.pulls["downloaded" if pulled.is_new else "stale" if pulled.is_stale else "stored"] += 1
                pinned = f"oci:{pulled.reference.with_digest(pulled.manifest_digest)}"
                self._images[image] = WasmSource(str(pulled.reference), pulled.data, pulled.digest, pinned)
                self._image_warnings[image] = pulled.warnings
                self._digests.append(pulled.manifest_digest)
        self.warnings += [Problem("registries", warning) for warning in puller.warnings]


def references(modules: Iterable[ModuleConfig]) -> list[_Wanted]:
    """The distinct images of modules with their pull policies; malformed references are left out."""
    return list(dict.fromkeys(filter(None, map(_wanted, modules))))


def _wanted(module: ModuleConfig) -> _Wanted | None:
    if not is_image(module.module):
        return None
    try:
        return ImageReference.parse(module.module), _policy(module)
    except ValueError:
        return None  # `ModuleSources.read` raises the error


def _policy(module: ModuleConfig) -> PullPolicy:
    return module.pull_policy or ImageReference.parse(module.module).default_policy()
