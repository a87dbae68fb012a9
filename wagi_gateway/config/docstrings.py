"""The docstrings of a class's attributes, which Python keeps in the source alone: read when they are asked for."""

from __future__ import annotations

import ast
import functools
import inspect
import sys


def attribute_docstrings(cls: type) -> dict[str, str]:
    """The docstring below each annotated attribute in the body of a class, by name; none without the source.

    pydantic's `use_attribute_docstrings` would read the source at each import: a tenth of the gateway's start.
    """
    return _of_module(cls.__module__).get(cls.__qualname__, {})


@functools.cache
def _of_module(name: str) -> dict[str, dict[str, str]]:
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except OSError:  # an installation of byte code alone
        return {}
    return {node.name: _of_class(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> dict[str, str]:
    found = {}
    for attribute, text in zip(node.body, node.body[1:], strict=False):
        match attribute, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(docstring))):
                found[name] = inspect.cleandoc(docstring)
    return found
