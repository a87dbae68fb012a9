"""YAML documents: their values, bounds, and the messages of refused texts."""

from __future__ import annotations

import pytest

from wagi_gateway.config.pod.document import BadDocument, Documents, Number, Value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", "a"),
        ("~", None),
        ("yes", True),
        ("off", False),
        ("y", "y"),
        ("3001", Number("3001")),
        ("0x10", Number("0x10")),
        ("1.5", Number("1.5")),
        ("12:30", "12:30"),
        ("2021-10-12", "2021-10-12"),
        ("=", "="),
        ("'3001'", "3001"),
        ("!!str 3001", "3001"),
        ("[a, {b: 1}]", ["a", {"b": Number("1")}]),
        ("{1: a}", {"1": "a"}),
        ("{a: &x [1], b: *x}", {"a": [Number("1")], "b": [Number("1")]}),
        ("{<<: {a: b}, c: d}", {"a": "b", "c": "d"}),
        ("{a: own, <<: [{a: first}, {a: second, b: second}]}", {"a": "own", "b": "second"}),
    ],
)
def test_value(text: str, value: Value) -> None:
    documents = Documents(text)
    assert (documents.values, documents.problems) == ([value], [])


def test_documents() -> None:
    assert Documents("a\n---\nb\n---\n").values == ["a", "b", None]


def test_keys_that_stand_twice() -> None:
    documents = Documents("a: 1\nb: {c: 1, c: 2}\na: 2\n")
    assert documents.problems == [
        'line 2, column 11: the key "c" stands twice; the first is in line 2',
        'line 3, column 1: the key "a" stands twice; the first is in line 1',
    ]


LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(
            "kind: Pod\n\tmetadata: {}",
            (
                "is not valid YAML: line 2, column 1: while scanning for the next token found character '\\t' that"
                " cannot start any token"
            ),
            id="tab",
        ),
        pytest.param(
            "kind: [Pod",
            (
                "is not valid YAML: line 1, column 11: while parsing a flow sequence expected ',' or ']', but got"
                " '<stream end>'"
            ),
            id="unclosed",
        ),
        pytest.param(
            "kind: Pod\nname: \x07", "is not valid YAML: line 2: the character 0x0007 is not allowed", id="control"
        ),
        pytest.param(
            'kind: "\\UFFFFFFFF"', "is not valid YAML: an escape or a directive is out of range", id="bad-escape"
        ),
        pytest.param(
            "kind: !!python/name:os.system Pod",
            "line 1, column 7: the tag '!!python/name:os.system' is not accepted; leave it out",
            id="tag",
        ),
        pytest.param(
            'kind: "\\ud83d"',
            "line 1, column 7: holds half of a surrogate pair; write the character itself",
            id="surrogate",
        ),
        pytest.param(
            "kind: !!binary aGVsbG8=", "line 1, column 7: the tag '!!binary' is not accepted; leave it out", id="binary"
        ),
        pytest.param("? [a]\n: b", "line 1, column 3: a key must be text; put it in quotes", id="complex-key"),
        pytest.param("~: b", "line 1, column 1: a key must be text; put it in quotes", id="null-key"),
        pytest.param(
            "a: &a [*a]",
            "line 1, column 4: an alias leads deeper than 64 levels; write out what it stands for",
            id="recursive",
        ),
        pytest.param("<<: 1", "line 1, column 5: << merges mappings only", id="merge-text"),
        pytest.param("a: *b", "is not valid YAML: line 1, column 4: found undefined alias", id="unknown-alias"),
        pytest.param("[" * 100_000, "is not valid YAML: line 1, column 65: more than 64 levels of nesting", id="deep"),
        pytest.param(
            "- " * 100_000, "is not valid YAML: line 1, column 129: more than 64 levels of nesting", id="dashes"
        ),
        pytest.param(
            "[" + "1," * 60_000 + "]", "is not valid YAML: line 1, column 100000: more than 50,000 values", id="many"
        ),
        pytest.param(LAUGHS, "grows to more than 50,000 values; write fewer aliases", id="billion-laughs"),
        pytest.param(
            f"%YAML {'9' * 5000}.1\n--- a", "is not valid YAML: an escape or a directive is out of range", id="version"
        ),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(BadDocument) as caught:
        Documents(text)
    assert str(caught.value) == problem
