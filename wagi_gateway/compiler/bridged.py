"""The bridge for `wasi:http` within a component that `wagi-gateway bridge` composed.

The bridge has a memory of 4 MiB at most, which the guest may have beside those of `limits.memories`. So that no other
component gets one memory more, bridges are known by their digests.
"""

from __future__ import annotations

import hashlib

from .component_binary import top_sections

_NESTED_COMPONENT, _INSTANCE = 4, 5
_INSTANTIATES_FIRST = b"\1\0\0"
"""The beginning of a section of one instance, of the component with the index 0."""
BRIDGES = frozenset(("53a8fd30e1eeb13285b6632c499fd2e987261fadcbb9d31bcddaaee0de24ddfd",))
"""SHA-256 of each bridge that a release of the gateway had; images with it are in registries."""
MAX_MEMORY = 4 * 2**20
"""Bytes of a bridge's memory (scripts/build-samples)."""


def count_bridges(component: bytes) -> int:
    """1 if the first component within is a known bridge, which is instantiated next; else 0. Raises Malformed."""
    nested = None
    for section in top_sections(component):
        if nested is not None:
            is_bridge = hashlib.sha256(nested).hexdigest() in BRIDGES
            return int(
                is_bridge
                and section.id == _INSTANCE
                and component.startswith(_INSTANTIATES_FIRST, section.content, section.end)
            )
        if section.id == _NESTED_COMPONENT:
            nested = component[section.content : section.end]
    return 0
