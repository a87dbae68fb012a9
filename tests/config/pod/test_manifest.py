"""Pod manifests: the tables of `modules.toml` that result, and the message of each mistake.

`cases/` holds a manifest in NAME.yaml and its result in NAME.txt. `python -m tests.config.pod.test_manifest` writes
each NAME.txt anew; the difference is for a reader to check.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from wagi_gateway.config.file import config_from_tables
from wagi_gateway.config.pod.document import MAX_SIZE
from wagi_gateway.config.pod.fields import CONTAINER, METADATA, MODULE, MOUNT, OBJECT, SPEC, VOLUME
from wagi_gateway.config.pod.manifest import DEFAULT_HOST, MODULES, PodFile, read_pod
from wagi_gateway.config.pod.toml import write_toml
from wagi_gateway.config.settings import ModuleConfig, ServerConfig
from wagi_gateway.errors import StartupError

HERE = Path(__file__).parent
ARTICLE = ROOT / "samples/kubernetes/wasi-example.yaml"
CASES = [*sorted(HERE.glob("cases/*.yaml")), ARTICLE]

HELLO = {"name": "hello", "image": "example.com/hello:v1"}
SRV = {"name": "data", "hostPath": {"path": "/srv"}}
AT_DATA = {"name": "data", "mountPath": "/data"}

Fields = dict[str, Any]


def manifest(
    spec: Fields | None = None,
    container: Fields | None = None,
    entry: Fields | None = None,
    metadata: Fields | None = None,
    annotations: Fields | None = None,
    **top: object,
) -> str:
    """A Pod with one container `hello` at /hello, and the fields of a test."""
    modules = json.dumps({"hello": {"route": "/hello", **(entry or {})}})
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "demo", "annotations": {MODULES: modules, **(annotations or {})}, **(metadata or {})},
            "spec": {"containers": [{**HELLO, **(container or {})}], **(spec or {})},
            **top,
        }
    )


def with_modules(text: str) -> str:
    return manifest(annotations={MODULES: text})


def with_volumes(volumes: list[Fields], *mounts: Fields) -> str:
    return manifest({"volumes": volumes}, {"volumeMounts": list(mounts)})


def field_of(path: str) -> Fields:
    return {"valueFrom": {"fieldRef": {"fieldPath": path}}}


def read(directory: Path, text: str) -> PodFile:
    path = directory / "pod.yaml"
    path.write_text(text)
    return read_pod(path)


def found(path: Path, read_as: PodFile | StartupError) -> str:
    """The problems and warnings of a manifest, one a line, as at the top of a case's `.txt`."""
    cut = f"{path}: "
    kinds: dict[str, Iterable[object]]
    if isinstance(read_as, StartupError):
        kinds = {"refused": read_as.problems}
    else:
        kinds = {"problem": read_as.problems, "warning": read_as.warnings, "serves": read_as.containers}
    lines = []
    for kind, texts in kinds.items():
        for text in map(str, texts):
            assert kind == "serves" or text.startswith(cut), text
            lines.append(f"{kind}: {text.removeprefix(cut)}\n")
    return "".join(lines)


def read_case(path: Path) -> PodFile | StartupError:
    """The manifest, or the problems of a file that is no manifest."""
    try:
        return read_pod(path)
    except StartupError as error:
        return error


def problems(directory: Path, text: str) -> list[str]:
    """The problems of a manifest with this text, without the file's path."""
    path = directory / "pod.yaml"
    path.write_text(text)
    return [line.removeprefix("problem: ") for line in found(path, read_pod(path)).splitlines() if "problem: " in line]


@pytest.mark.parametrize("path", CASES, ids=[path.stem for path in CASES])
def test_case(path: Path) -> None:
    """A `.txt` holds the problems, the warnings and the containers, then the tables as TOML."""
    expected, _, tables = (HERE / f"cases/{path.stem}.txt").read_text().partition("\n\n")
    pod = read_case(path)
    assert found(path, pod) == expected.rstrip("\n") + "\n"
    assert (pod.tables if isinstance(pod, PodFile) else {}) == tomllib.loads(tables)


def test_every_case_has_its_manifest() -> None:
    assert {path.stem for path in HERE.glob("cases/*.txt")} == {path.stem for path in CASES}


def test_listen_without_the_annotation() -> None:
    """The case `no-default-host` has no `server.listen`; the default is WAGI's."""
    assert ServerConfig().listen == "127.0.0.1:3000"


def test_annotation_nested_too_deeply(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, with_modules('{"a":' * 100_000))
    assert problem == f"metadata.annotations.{MODULES}: is nested too deeply"


def test_quantity_of_5000_digits(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, manifest(container={"resources": {"limits": {"memory": "9" * 5000}}}))
    where = "spec.containers[0] (hello): resources.limits.memory"
    assert problem == f'{where} = "{"9" * 60}…": not a quantity; write for example "128Mi"'


def test_sub_path_behind_a_symbolic_link(tmp_path: Path) -> None:
    """CVE-2017-1002101: a container that may write to a volume could replace another's subPath by a link."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/inside").symlink_to("elsewhere")
    (tmp_path / "volume/outside").symlink_to("../secrets")
    volume = {"name": "data", "hostPath": {"path": str(tmp_path / "volume")}}
    inside = read(tmp_path, with_volumes([volume], AT_DATA | {"subPath": "inside/x"}))
    assert not inside.problems
    assert inside.tables["module"][0]["volumes"]
    (problem,) = problems(tmp_path, with_volumes([volume], AT_DATA | {"subPath": "outside/x"}))
    assert "a symbolic link leads it out of the volume" in problem


def test_values_of_variables_are_not_shown(tmp_path: Path) -> None:
    variables: list[Fields] = [
        {"name": "A", "value": 31337},
        {"name": "B", "value": "31337\0"},
        {"name": "C", "vaule": "31337"},
    ]
    found = problems(tmp_path, manifest(container={"env": variables}))
    assert len(found) == 3
    assert not any("31337" in problem for problem in found)


def test_variables_that_double(tmp_path: Path) -> None:
    double = [{"name": f"A{number + 1}", "value": f"$(A{number})" * 2} for number in range(64)]
    assert problems(tmp_path, manifest(container={"env": [{"name": "A0", "value": "x" * 1000}, *double]})) == [
        "spec.containers[0] (hello): env[10] (A10).value: the variables of all containers grow to more than 1,048,576"
        " characters; shorten them"
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff\xfe", "is not UTF-8 text; a Kubernetes Pod (kind: Pod, apiVersion: v1) is wanted here"),
        (b"#" * (MAX_SIZE + 1), "is larger than 1MiB; a Kubernetes Pod (kind: Pod, apiVersion: v1) is wanted here"),
        (b"[" * 100, "is not valid YAML: line 1, column 65: more than 64 levels of nesting"),
    ],
    ids="absent utf-16 large deep".split(),
)
def test_unreadable(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "pod.yaml"
    if content:
        path.write_bytes(content)
    with pytest.raises(StartupError) as caught:
        read_pod(path)
    assert str(caught.value) == f"{path}: {problem}"


def test_the_result_is_a_configuration(tmp_path: Path) -> None:
    container = {
        "env": [{"name": "A", "value": "b"}],
        "volumeMounts": [AT_DATA | {"readOnly": True}],
        "resources": {"limits": {"memory": "1.5G"}},
    }
    entry = {"allowed_hosts": ["a.example"], "entrypoint": "go", "http_max_concurrency": 0}
    file = read(tmp_path, manifest({"volumes": [SRV]}, container, entry, annotations={DEFAULT_HOST: "localhost:80"}))
    text = write_toml(file.tables, [f"container {name}" for name in file.containers])
    assert tomllib.loads(text) == file.tables
    read_back = config_from_tables(tmp_path / "modules.toml", tomllib.loads(text))
    assert not read_back.problems
    assert read_back.config.server.listen == "localhost:80"
    (found,) = read_back.config.module
    assert (found.environment, found.limits.memory) == ({"A": "b"}, 1_500_000_000)
    assert (found.volumes["/data"].path, found.volumes["/data"].read_only) == ("/srv", True)


_WORDS = st.one_of(
    st.sampled_from([*OBJECT, *METADATA, *SPEC, *CONTAINER, *VOLUME, *MOUNT, *MODULE, MODULES, DEFAULT_HOST, "hello"]),
    st.text(max_size=8),
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    _WORDS,
    st.sampled_from(
        ["v1", "Pod", "List", "/a", "/a/...", "$(A)", "metadata.name", "Always", "1Gi", "example.com/a:v1"]
    ),
    st.sampled_from(['{"hello": {"route": "/a"}}', '{"hello": []}', '{"a": {"route": {}}}', "localhost:1"]),
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=5), max_leaves=20
)


@st.composite
def _manifests(draw: st.DrawFn) -> object:
    """A whole manifest with up to four values replaced, at any depth."""
    whole: Any = json.loads(
        manifest(
            {"volumes": [SRV, {"name": "tmp", "emptyDir": {}}]},
            {
                "imagePullPolicy": "Always",
                "env": [{"name": "A", "value": "x"}, {"name": "B", **field_of("metadata.labels['a']")}],
                "volumeMounts": [AT_DATA, {"name": "tmp", "mountPath": "/tmp", "subPath": "a"}],
                "resources": {"limits": {"memory": "1Gi"}},
            },
            metadata={"labels": {"a": "b"}},
        )
    )
    for _ in range(draw(st.integers(1, 4))):
        parent, key = whole, None
        while isinstance(parent, (dict, list)) and parent:
            key = draw(st.sampled_from(sorted(parent) if isinstance(parent, dict) else range(len(parent))))
            if not isinstance(parent[key], (dict, list)) or not parent[key] or draw(st.integers(0, 3)) == 0:
                break
            parent = parent[key]
        if key is not None:
            parent[key] = draw(_VALUES)
    return whole


def _check(path: Path, content: bytes) -> None:
    """Any content is either reported as a mistake or becomes a valid configuration."""
    path.write_bytes(content)
    try:
        file = read_pod(path)
    except StartupError as error:
        file = PodFile({}, (), error.problems)
    assert all(str(problem).isprintable() for problem in (*file.problems, *file.warnings))
    assert tomllib.loads(write_toml(file.tables, file.containers)) == file.tables
    assert len(file.tables.get("module", ())) == len(file.containers)
    assert file.problems or file.containers
    tables = deepcopy(file.tables)
    for table in tables.get("module", ()):
        ModuleConfig.model_validate(table)


_SETTINGS = settings(max_examples=400, suppress_health_check=list(HealthCheck))


@given(value=st.one_of(_manifests(), _VALUES))
@_SETTINGS
def test_any_values(tmp_path: Path, value: object) -> None:
    _check(tmp_path / "pod.yaml", json.dumps(value).encode())


@given(text=st.text(st.sampled_from("{}[]:,-?&*!|>'\"%@#<\\ \n\tab0~.U"), max_size=60))
@_SETTINGS
def test_any_yaml(tmp_path: Path, text: str) -> None:
    _check(tmp_path / "pod.yaml", text.encode())


@given(content=st.binary(max_size=60))
@_SETTINGS
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    _check(tmp_path / "pod.yaml", content)


@given(
    text=st.one_of(
        st.text(max_size=40), _VALUES.map(json.dumps), st.text(st.sampled_from('{}[]:,"\\u0dea'), max_size=40)
    )
)
@_SETTINGS
def test_any_annotation(tmp_path: Path, text: str) -> None:
    _check(tmp_path / "pod.yaml", with_modules(text).encode())


if __name__ == "__main__":
    for case in CASES:
        result = read_case(case)
        text = found(case, result)
        if isinstance(result, PodFile) and result.tables:
            text += "\n" + write_toml(result.tables, [f"container {name}" for name in result.containers])
        (HERE / f"cases/{case.stem}.txt").write_text(text)
