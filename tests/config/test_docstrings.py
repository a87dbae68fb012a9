"""config/docstrings.py: the docstrings of attributes, read from the source."""

from __future__ import annotations

from wagi_gateway.config.docstrings import attribute_docstrings
from wagi_gateway.config.settings import Config, Limits


class Documented:
    """A class."""

    first: int = 1
    """The first line
    and the second."""
    second: int
    third = 3
    """Of no annotated attribute."""


def test_a_docstring_belongs_to_the_annotated_attribute_above() -> None:
    assert attribute_docstrings(Documented) == {"first": "The first line\nand the second."}


def test_a_class_in_a_function_has_none() -> None:
    class Local:
        value: int = 1
        """Its docstring."""

    assert attribute_docstrings(Local) == {}


def test_the_json_schema_describes_each_setting() -> None:
    limits = Config.model_json_schema()["$defs"]["Limits"]["properties"]
    assert {name: table["description"] for name, table in limits.items()} == attribute_docstrings(Limits)
