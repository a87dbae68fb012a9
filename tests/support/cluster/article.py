"""The Pod of the article, and its five modules in a registry."""

from __future__ import annotations

from tests.conftest import ROOT
from tests.support.publishing import publish
from tests.support.registry import Registry

MANIFEST = ROOT / "samples" / "kubernetes" / "wasi-example.yaml"
"""The Pod, as the article has it."""
POD = "krustlet-wagi-demo"
REGISTRY = "webassembly.azurecr.io"
"""The registry of the article's images, which no longer gives them out."""
MODULES = {
    "http-example": "c/http-example.wasm",
    "hello": "wat/hello.wat",
    "index": "c/index.wasm",
    "error": "wat/error.wat",
    "log": "rust/log.wasm",
}
"""The sample of each module: the container is `krustlet-wagi-demo-NAME`."""


def publish_modules(registry: Registry) -> None:
    """Pushes the five modules under the names of the article."""
    for name, sample in MODULES.items():
        path = ROOT / "samples" / sample
        publish(registry, f"{POD}-{name}:v1.0.0", path.read_text() if path.suffix == ".wat" else path)
