"""A mapping of a manifest: its fields by type, and the location of each in messages."""

from __future__ import annotations

import pytest

from wagi_gateway.config.pod.document import Number, Value
from wagi_gateway.config.pod.mapping import FieldPolicy, ManifestMapping, Report, literal, nearest, quote

POLICIES = {
    "name": FieldPolicy("read"),
    "status": FieldPolicy("silent"),
    "tty": FieldPolicy("warning", "has no effect", (Number("30"),)),
    "args": FieldPolicy("error", "not supported"),
}


def mapping(**values: Value) -> ManifestMapping:
    return ManifestMapping(values, "pod.yaml", "spec.", Report())


def messages(found: ManifestMapping) -> tuple[list[str], list[str]]:
    """The problems and the warnings so far."""
    return [str(one) for one in found.report.problems], [str(one) for one in found.report.warnings]


@pytest.mark.parametrize(
    ("value", "needed", "text", "problem"),
    [
        ("x", "", "x", ""),
        ("", "", "", ""),
        (None, "", None, ""),
        (None, "it is a name", None, "spec.name: missing; it is a name"),
        ("", "it is a name", None, 'spec.name = "": must not be empty; it is a name'),
        (True, "", None, "spec.name = true: must be text; put it in quotes"),
        (Number("1.50"), "", None, "spec.name = 1.50: must be text; put it in quotes"),
        ([], "", None, "spec.name: must be text"),
    ],
)
def test_text(value: Value, needed: str, text: str | None, problem: str) -> None:
    found = mapping(name=value)
    assert found.text("name", needed) == text
    assert messages(found) == ([f"pod.yaml: {problem}"] if problem else [], [])


@pytest.mark.parametrize(
    ("value", "flag", "problem"),
    [(None, False, ""), (False, False, ""), (True, True, ""), ("yes", False, "must be true or false")],
)
def test_flag(value: Value, *, flag: bool, problem: str) -> None:
    found = mapping(readOnly=value)
    assert found.flag("readOnly") == flag
    assert [one.endswith(problem) for one in messages(found)[0]] == ([True] if problem else [])


def test_a_missing_field_of_something_else_is_reported_once() -> None:
    found = mapping(metadata=[])
    assert found.table("metadata").text("name", needed="it is a name") is None
    assert messages(found) == (["pod.yaml: spec.metadata: must be a mapping"], [])


def test_an_inner_mapping_has_the_path() -> None:
    found = mapping(metadata={"labels": {"a b": None}})
    found.table("metadata").table("labels").problem("a b", "no")
    assert messages(found)[0] == ["pod.yaml: spec.metadata.labels.a b: no"]


@pytest.mark.parametrize(
    ("as_objects", "problem"),
    [
        (False, "pod.yaml: spec.env[1] (PORT).value: no"),
        (True, "pod.yaml: spec.env[1] (PORT): value: no"),
    ],
)
def test_items_are_named_by_number_and_name(*, as_objects: bool, problem: str) -> None:
    found = mapping(env=["x", {"name": "PORT", "value": "s3cret"}])
    for table in found.tables("env", as_objects=as_objects):
        table.problem("value", "no")
    assert messages(found)[0] == ["pod.yaml: spec.env[0]: must be a mapping", problem]


def test_a_list_that_is_none() -> None:
    found = mapping(env={})
    assert list(found.items("env")) == []
    assert messages(found)[0] == ["pod.yaml: spec.env: must be a list"]


@pytest.mark.parametrize(
    ("fields", "problems", "warnings"),
    [
        ({"name": "x", "status": {"phase": "Running"}}, [], []),
        ({"tty": True}, [], ["pod.yaml: spec.tty = true: has no effect"]),
        ({"tty": False, "args": []}, [], []),
        ({"tty": Number("30")}, [], []),
        ({"args": ["-x"]}, ["pod.yaml: spec.args: not supported"], []),
        ({"nam": "x"}, ["pod.yaml: spec.nam: unknown field; did you mean name?"], []),
        ({"xyz": "x"}, ["pod.yaml: spec.xyz: unknown field; valid are name, status, tty"], []),
    ],
    ids=str,
)
def test_policies(fields: dict[str, Value], problems: list[str], warnings: list[str]) -> None:
    found = mapping(**fields)
    found.check_fields(POLICIES)
    assert messages(found) == (problems, warnings)


def test_a_file_that_is_wrong_everywhere_gets_no_more_suggestions() -> None:
    found = mapping(**{f"nam{number}": "x" for number in range(101)})
    found.check_fields(POLICIES)
    problems = messages(found)[0]
    assert (problems[99][-5:], problems[100][-5:]) == ("name?", "field")


def test_null_is_an_absent_field() -> None:
    assert "name" not in mapping(name=None)
    assert "name" in mapping(name="")


@pytest.mark.parametrize(
    ("name", "names", "hint"),
    [
        ("Nmae", ["name", "image"], "; did you mean name?"),
        ("xyz", ["name", "image"], "; valid are name, image"),
        ("xyz", [str(number) for number in range(13)], ""),
        ("xyz", [], ""),
    ],
)
def test_the_nearest_name(name: str, names: list[str], hint: str) -> None:
    assert nearest(name, names) == hint


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a b", "a b"),
        ("é", "é"),
        ("", '""'),
        ("a\nb", r'"a\nb"'),
        ("\u202e", r"'\u202e'"),
        ("x" * 101, f'"{"x" * 60}…"'),
    ],
)
def test_names_in_messages_are_one_line(name: str, text: str) -> None:
    assert quote(name) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        ("a\n", r'"a\n"'),
        (Number("0x10"), "0x10"),
        (Number("1" * 70), "1" * 60),
        ("x" * 61, f'"{"x" * 61}"'),
    ],
)
def test_literals_in_messages_are_short(value: bool | str | Number, text: str) -> None:
    assert literal(value) == text
