"""The modules a configuration names, wherever they are."""

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

if TYPE_CHECKING:  # what speaks to registries is imported where one is named
    from .oci.puller import OnProgress, Puller
    from .oci.store import Store

_Wanted = tuple[ImageReference, PullPolicy]


def is_image(reference: str) -> bool:
    """Whether a module is named by its place in a registry."""
    return reference[:4].lower() == "oci:"


def create_puller(config: Config, base: Path, directory: Path, on_progress: OnProgress | None = None) -> Puller:
    """What pulls modules into a store under the cache `directory`. Raises DirectoryRefused."""
    from .oci.puller import Puller
    from .oci.store import Store

    auth_files = [base / config.auth_file] if config.auth_file else []
    credentials = CredentialSource(auth_files, os.environ, config.registries, base)
    return Puller(Store(directory / "registry"), config.registries, credentials, base, on_progress)


class ModuleSources:
    """Reads modules; those from registries are pulled side by side, before the first is asked for."""

    def __init__(
        self, config: Config, base: Path, cache_directory: Path, on_progress: OnProgress | None = None
    ) -> None:
        """`base` is where relative paths start."""
        self.warnings: list[Problem] = []
        """What is doubtful about registries as a whole."""
        self._base = base
        # Several routes in a row may lead to one file; the bytes of all files together can be more than a start has.
        self._read_file = functools.lru_cache(maxsize=1)(read_module)
        self._images: dict[_Wanted, WasmSource | RegistryError] = {}
        self._image_warnings: dict[_Wanted, tuple[str, ...]] = {}
        self._store: Store | None = None
        self._digests: list[str] = []
        self.pulls: Counter[str] = Counter()
        """Modules of registries: `downloaded`, `stored` before, or `stale`."""
        wanted = references(config.module)
        if wanted:
            self._pull(config, cache_directory, wanted, on_progress)

    def read(self, module: ModuleConfig) -> tuple[WasmSource, tuple[str, ...]]:
        """A module, and what is doubtful about it. Raises StartupError, RegistryError and ValueError."""
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

    def in_use(self) -> Callable[[], None]:
        """What notes that the modules from registries are in use; it outlives the bytes of all modules, held here."""
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
        for one, pulled in zip(wanted, puller.pull_all(wanted, config.cache.max_module), strict=True):
            if isinstance(pulled, RegistryError):
                self._images[one] = pulled
            else:
                self.pulls["downloaded" if pulled.is_new else "stale" if pulled.is_stale else "stored"] += 1
                pinned = f"oci:{pulled.reference.with_digest(pulled.manifest_digest)}"
                self._images[one] = WasmSource(str(pulled.reference), pulled.data, pulled.digest, pinned)
                self._image_warnings[one] = pulled.warnings
                self._digests.append(pulled.manifest_digest)
        self.warnings += [Problem("registries", warning) for warning in puller.warnings]


def references(modules: Iterable[ModuleConfig]) -> list[_Wanted]:
    """The registries' modules among some, each once, with the policy that holds for it; malformed ones are left out."""
    return list(dict.fromkeys(filter(None, map(_wanted, modules))))


def _wanted(module: ModuleConfig) -> _Wanted | None:
    if not is_image(module.module):
        return None
    try:
        return ImageReference.parse(module.module), _policy(module)
    except ValueError:
        return None  # said when it is read


def _policy(module: ModuleConfig) -> PullPolicy:
    return module.pull_policy or ImageReference.parse(module.module).default_policy()
