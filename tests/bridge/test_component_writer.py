"""Components that are written: components within, instances, aliases and exports."""

from __future__ import annotations

from wagi_gateway.bridge.component_writer import ComponentWriter
from wagi_gateway.compiler.component_binary import ComponentExterns
from wagi_gateway.compiler.interface import assemble

INNER = """(component
 (import "a" (instance))
 (instance $own)
 (export "b" (instance $own)))"""


def test_a_component_is_instantiated_and_its_instance_exported() -> None:
    outer = assemble("outer", b'(component (import "wasi:a/b@0.2.0" (instance)))', is_text=True)
    writer = ComponentWriter(outer, 1)
    component = writer.add_component(assemble("inner", INNER.encode(), is_text=True))
    instance = writer.instantiate(component, {"a": 0})
    writer.export("c:d/e@1.0.0", writer.alias(instance, "b"))
    assert (component, instance) == (0, 1)
    assert ComponentExterns.read(writer.component()) == (
        (("wasi:a/b@0.2.0", "instance"),),
        (("c:d/e@1.0.0", "instance"),),
    )
