"""A writer of the binary format of components, for what a composition needs.

Source: the component model, Binary.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..compiler.binary import leb128

_COMPONENT, _INSTANCE, _ALIAS, _EXPORT = 4, 5, 6, 11
_INSTANCE_SORT = b"\5"


class ComponentWriter:
    """Appends components and instances to a component in the binary format."""

    def __init__(self, begin: bytes, instances: int) -> None:
        """`begin` is a component with `instances` instances and no component within."""
        self._pieces = [begin]
        self._components = 0
        self._instances = instances

    def add_component(self, component: bytes) -> int:
        """Embeds a component; returns its index."""
        self._add(_COMPONENT, component)
        self._components += 1
        return self._components - 1

    def instantiate(self, component: int, arguments: Mapping[str, int]) -> int:
        """Instantiates a component with instances as the arguments of these names; returns the instance's index."""
        given = [_name(name) + _INSTANCE_SORT + leb128(instance) for name, instance in arguments.items()]
        return self._add_instance(_INSTANCE, b"\1\0" + leb128(component) + leb128(len(given)) + b"".join(given))

    def alias(self, instance: int, name: str) -> int:
        """The index of an instance that another one exports."""
        return self._add_instance(_ALIAS, b"\1" + _INSTANCE_SORT + b"\0" + leb128(instance) + _name(name))

    def export(self, name: str, instance: int) -> None:
        """Exports an instance."""
        self._add(_EXPORT, b"\1\0" + _name(name) + _INSTANCE_SORT + leb128(instance) + b"\0")

    def component(self) -> bytes:
        """The whole component."""
        return b"".join(self._pieces)

    def _add_instance(self, section: int, content: bytes) -> int:
        self._add(section, content)
        self._instances += 1
        return self._instances - 1

    def _add(self, section: int, content: bytes) -> None:
        self._pieces += [bytes([section]), leb128(len(content)), content]


def _name(name: str) -> bytes:
    encoded = name.encode()
    return leb128(len(encoded)) + encoded
