"""Pod manifests: what becomes of them, and in which words a mistake is said."""

from __future__ import annotations

import json
import tomllib
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

ARTICLE = ROOT / "samples/kubernetes/wasi-example.yaml"

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
    """A Pod with one container `hello` at /hello, and what a test adds to it."""
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


def with_env(*variables: Fields) -> str:
    return manifest(container={"env": list(variables)})


def with_modules(text: str) -> str:
    return manifest(annotations={MODULES: text})


def with_volumes(volumes: list[Fields], *mounts: Fields) -> str:
    return manifest({"volumes": volumes}, {"volumeMounts": list(mounts)})


def with_memory(quantity: object) -> str:
    return manifest(container={"resources": {"limits": {"memory": quantity}}})


def field_of(path: str) -> Fields:
    return {"valueFrom": {"fieldRef": {"fieldPath": path}}}


def read(directory: Path, text: str) -> PodFile:
    path = directory / "pod.yaml"
    path.write_text(text)
    return read_pod(path)


def module(directory: Path, text: str) -> Fields:
    """The one `[[module]]` of a manifest that is right."""
    file = read(directory, text)
    assert not file.problems
    (table,) = file.tables["module"]
    assert isinstance(table, dict)
    return table


def problems(directory: Path, text: str) -> list[str]:
    """What is wrong, without the file's path and with the annotation's name cut short."""
    try:
        found = read(directory, text).problems
    except StartupError as error:
        found = error.problems
    cut = f"{directory / 'pod.yaml'}: "
    return [str(problem).removeprefix(cut).replace(f"metadata.annotations.{MODULES}", "MODULES") for problem in found]


def test_the_articles_manifest() -> None:
    image = "oci:webassembly.azurecr.io/krustlet-wagi-demo"
    assert read_pod(ARTICLE) == PodFile(
        {
            "server": {"listen": "0.0.0.0:3001"},
            "module": [
                {
                    "route": "/http-example",
                    "module": f"{image}-http-example:v1.0.0",
                    "pull_policy": "always",
                    "allowed_hosts": ["https://api.brigade.sh"],
                },
                {"route": "/hello/...", "module": f"{image}-hello:v1.0.0", "pull_policy": "always"},
                {"route": "/", "module": f"{image}-index:v1.0.0", "pull_policy": "always"},
                {"route": "/error", "module": f"{image}-error:v1.0.0", "pull_policy": "always"},
                {"route": "/log", "module": f"{image}-log:v1.0.0", "pull_policy": "always"},
            ],
        },
        tuple(f"krustlet-wagi-demo-{name}" for name in ("http-example", "hello", "index", "error", "log")),
    )


def test_where_it_listens_without_the_annotation(tmp_path: Path) -> None:
    """The original's default is ours."""
    assert "server" not in read(tmp_path, manifest()).tables
    assert ServerConfig().listen == "127.0.0.1:3000"


@pytest.mark.parametrize("listen", ["0.0.0.0:3001", "localhost:3001", "[::1]:80", ":3001"])
def test_default_host(tmp_path: Path, listen: str) -> None:
    assert read(tmp_path, manifest(annotations={DEFAULT_HOST: listen})).tables["server"] == {"listen": listen}


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"imagePullPolicy": "Always"}, {"pull_policy": "always"}),
        ({"imagePullPolicy": "IfNotPresent"}, {"pull_policy": "if-not-present"}),
        ({"imagePullPolicy": "Never"}, {"pull_policy": "never"}),
        ({"imagePullPolicy": None, "env": None, "resources": {}}, {}),
        ({"env": [{"name": "A", "value": "b"}, {"name": "B"}]}, {"environment": {"A": "b", "B": ""}}),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)$$(A)"}]},
            {"environment": {"A": "1", "B": "1$(C)$(A)"}},
        ),
        ({"env": [{"name": "A", **field_of("metadata.name")}]}, {"environment": {"A": "demo"}}),
        ({"resources": {"limits": {"memory": "128Mi"}}}, {"limits": {"memory": "128MiB"}}),
        ({"resources": {"limits": {"memory": 100000000}}}, {"limits": {"memory": "100000000B"}}),
        ({"resources": {"limits": {"memory": "8Gi"}}}, {"limits": {"memory": "4GiB"}}),
        ({"image": "hello"}, {"module": "oci:hello"}),
        ({"command": [], "args": None, "workingDir": "/", "lifecycle": {}, "envFrom": []}, {}),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
def test_container(tmp_path: Path, container: Fields, expected: Fields) -> None:
    assert module(tmp_path, manifest(container=container)) == {
        "route": "/hello",
        "module": "oci:example.com/hello:v1",
        **expected,
    }


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"entrypoint": "go", "http_max_concurrency": 5}, {"entrypoint": "go", "http_max_concurrency": 5}),
        ({"allowed_hosts": []}, {"allowed_hosts": []}),
        ({"allowed_hosts": None, "entrypoint": None}, {}),
        (
            {"allowed_hosts": ["a.example", "insecure:allow-all"]},
            {"allowed_hosts": ["a.example", "insecure:allow-all"]},
        ),
        ({"route": "/..."}, {"route": "/..."}),
    ],
)
def test_annotation(tmp_path: Path, entry: Fields, expected: Fields) -> None:
    assert module(tmp_path, manifest(entry=entry)) == {
        "route": "/hello",
        "module": "oci:example.com/hello:v1",
        **expected,
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.namespace", "prod"),
        ("metadata.uid", "u"),
        ("metadata.labels['app.kubernetes.io/name']", "x"),
        ("metadata.annotations['note']", "$(A)"),
        ("spec.nodeName", "n"),
    ],
)
def test_field_of_the_manifest(tmp_path: Path, path: str, value: str) -> None:
    """The value is not expanded: only what stands in `value` is."""
    metadata = {"namespace": "prod", "uid": "u", "labels": {"app.kubernetes.io/name": "x"}}
    variables = [{"name": "A", "value": "1"}, {"name": "B", **field_of(path)}]
    text = manifest({"nodeName": "n"}, {"env": variables}, metadata=metadata, annotations={"note": "$(A)"})
    assert module(tmp_path, text)["environment"] == {"A": "1", "B": value}


@pytest.mark.parametrize(
    ("volume", "mount", "expected"),
    [
        ({"hostPath": {"path": "/srv"}}, {}, {"/data": "/srv"}),
        ({"hostPath": {"path": "/srv", "type": "Directory"}}, {}, {"/data": "/srv"}),
        ({"hostPath": {"path": "/srv", "type": ""}}, {"readOnly": False}, {"/data": "/srv"}),
        ({"hostPath": {"path": "/srv"}}, {"readOnly": True}, {"/data": {"path": "/srv", "read_only": True}}),
        ({"hostPath": {"path": "/srv"}}, {"subPath": "a/./b/"}, {"/data": "/srv/a/b"}),
        ({"hostPath": {"path": "/srv"}}, {"mountPath": "//a/./b/"}, {"/a/b": "/srv"}),
        ({"emptyDir": {}}, {}, {"/data": {"temporary": "data"}}),
        ({"emptyDir": None}, {"readOnly": True}, {"/data": {"temporary": "data", "read_only": True}}),
        ({}, {}, {"/data": {"temporary": "data"}}),
    ],
)
def test_volume(tmp_path: Path, volume: Fields, mount: Fields, expected: Fields) -> None:
    table = module(tmp_path, with_volumes([{"name": "data", **volume}], {**AT_DATA, **mount}))
    assert table["volumes"] == expected


def test_sub_path_behind_a_symbolic_link(tmp_path: Path) -> None:
    """CVE-2017-1002101: whoever may write to a volume could put a link where another's subPath is."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/inside").symlink_to("elsewhere")
    (tmp_path / "volume/outside").symlink_to("../secrets")
    volume = {"name": "data", "hostPath": {"path": str(tmp_path / "volume")}}
    assert module(tmp_path, with_volumes([volume], AT_DATA | {"subPath": "inside/x"}))["volumes"]
    (problem,) = problems(tmp_path, with_volumes([volume], AT_DATA | {"subPath": "outside/x"}))
    assert "a symbolic link leads it out of the volume" in problem


def test_fields_without_meaning_give_no_noise(tmp_path: Path) -> None:
    """What `kubectl get pod -o yaml` shows of a Pod that says little."""
    spec = {
        "affinity": {"nodeAffinity": {}},
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "hostNetwork": True,
        "nodeName": "aks-mywasipool",
        "nodeSelector": {"kubernetes.io/arch": "wasm32-wagi"},
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 30,
        "tolerations": [{"operator": "Exists"}],
        "initContainers": [],
    }
    container = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": {}}
    metadata = {"creationTimestamp": "2021-10-12T00:00:00Z", "resourceVersion": "7", "labels": {"app": "x"}}
    text = manifest(
        spec, container, metadata=metadata, annotations={"other.example/x": "y"}, status={"phase": "Running"}
    )
    file = read(tmp_path, text)
    assert (file.problems, file.warnings) == ((), ())


@pytest.mark.parametrize(
    "text",
    [
        f"---\n---\n{manifest()}\n---\n",
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [json.loads(manifest())]}),
        "\ufeff" + manifest(),
        json.dumps(json.loads(manifest()), indent=4),
    ],
    ids="documents list bom json".split(),
)
def test_one_pod_however_it_is_wrapped(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == PodFile(
        {"module": [{"route": "/hello", "module": "oci:example.com/hello:v1"}]}, ("hello",)
    )


def test_anchors_and_merges(tmp_path: Path) -> None:
    text = """
    apiVersion: v1
    kind: Pod
    metadata: {annotations: {alpha.wagi.krustlet.dev/modules: '{"a": {"route": "/a"}, "b": {"route": "/b"}}'}}
    spec:
      containers:
        - &base {name: a, image: example.com/x, imagePullPolicy: Never, env: &env [{name: AT, value: 2021-10-12}]}
        - <<: *base
          name: b
          env: *env
    """
    rest = {"module": "oci:example.com/x", "pull_policy": "never", "environment": {"AT": "2021-10-12"}}
    assert read(tmp_path, text) == PodFile({"module": [{"route": f"/{name}", **rest} for name in "ab"]}, ("a", "b"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(
            manifest(kind="pod"),
            'holds no Pod but pod "demo"; a Kubernetes Pod (kind: Pod, apiVersion: v1) is wanted here',
            id="unread-kind",
        ),
        pytest.param(
            manifest(kind="Deployment", apiVersion="apps/v1"),
            (
                'holds no Pod but Deployment "demo"; a Kubernetes Pod (kind: Pod, apiVersion: v1) is wanted here;'
                " write its template as a Pod"
            ),
            id="deployment",
        ),
        pytest.param(
            json.dumps({"kind": "List", "apiVersion": "v1", "items": [{"kind": "Job"}, 7]}),
            (
                "holds no Pod but Job, something that is no object; a Kubernetes Pod (kind: Pod, apiVersion: v1) is"
                " wanted here; write its template as a Pod"
            ),
            id="job-list",
        ),
        pytest.param("", "is empty; a Kubernetes Pod (kind: Pod, apiVersion: v1) is wanted here", id="empty"),
        pytest.param(
            "# nothing\n---\n",
            "is empty; a Kubernetes Pod (kind: Pod, apiVersion: v1) is wanted here",
            id="only-comment",
        ),
        pytest.param(
            "just text",
            "holds no Pod but something that is no object; a Kubernetes Pod (kind: Pod, apiVersion: v1) is wanted here",
            id="scalar",
        ),
        pytest.param(
            "a: 1",
            "holds no Pod but an object without kind; a Kubernetes Pod (kind: Pod, apiVersion: v1) is wanted here",
            id="no-kind",
        ),
        pytest.param(
            manifest() + "\n---\n" + manifest(metadata={"name": "other"}),
            'holds 2 Pods: Pod "demo", Pod "other"; put each in a file of its own',
            id="two-pods",
        ),
    ],
)
def test_no_pod(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(text)
    with pytest.raises(StartupError) as caught:
        read_pod(path)
    assert [str(found) for found in caught.value.problems] == [f"{path}: {problem}"]


WRONG = [
    pytest.param(manifest(apiVersion="v2"), 'apiVersion = "v2": a Pod\'s is v1', id="api-version"),
    pytest.param(manifest(apiVersion=None), "apiVersion: missing; write apiVersion: v1", id="api-version-missing"),
    pytest.param(manifest(apiVersion=1), "apiVersion = 1: must be text; put it in quotes", id="api-number"),
    pytest.param(manifest(specs={}), "specs: unknown field; did you mean spec?", id="top-unknown"),
    pytest.param(
        json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": [], "spec": {"containers": [HELLO]}}),
        "metadata: must be a mapping",
        id="metadata-list",
    ),
    pytest.param(
        manifest(spec={"containers": None}), "spec.containers: missing; each of them is a module", id="spec-missing"
    ),
    pytest.param(
        json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": {MODULES: "{}"}}}),
        "spec.containers: missing; each of them is a module",
        id="no-spec",
    ),
    pytest.param(
        manifest(metadata={"anotations": {}}),
        "metadata.anotations: unknown field; did you mean annotations?",
        id="metadata-typo",
    ),
    pytest.param(
        manifest(annotations={"alpha.wagi.krustlet.dev/defaulthost": "x"}),
        (
            "metadata.annotations.alpha.wagi.krustlet.dev/defaulthost: unknown annotation; did you mean"
            " alpha.wagi.krustlet.dev/default-host?"
        ),
        id="annotation-typo",
    ),
    pytest.param(
        manifest(annotations={MODULES: None}),
        'MODULES: missing; it gives each container its route: {"container": {"route": "/path"}}',
        id="annotation-missing",
    ),
    pytest.param(
        manifest(annotations={MODULES: {"hello": {"route": "/"}}}), "MODULES: must be text", id="annotation-object"
    ),
    pytest.param(
        with_modules(""),
        'MODULES = "": must not be empty; it gives each container its route: {"container": {"route": "/path"}}',
        id="annotation-empty",
    ),
    pytest.param(
        manifest(annotations={DEFAULT_HOST: "localhost"}),
        (
            'metadata.annotations.alpha.wagi.krustlet.dev/default-host = "localhost": not HOST:PORT; write for example'
            ' "127.0.0.1:3000", "[::1]:3000" or ":3000"'
        ),
        id="listen",
    ),
    pytest.param(
        manifest(annotations={DEFAULT_HOST: 3001}),
        "metadata.annotations.alpha.wagi.krustlet.dev/default-host = 3001: must be text; put it in quotes",
        id="listen-number",
    ),
    pytest.param(
        manifest(annotations={DEFAULT_HOST: "0.0.0.0:70000"}),
        (
            'metadata.annotations.alpha.wagi.krustlet.dev/default-host = "0.0.0.0:70000": not HOST:PORT; write for'
            ' example "127.0.0.1:3000", "[::1]:3000" or ":3000"'
        ),
        id="listen-port",
    ),
    pytest.param(
        with_modules('{"hello": {"route": "/x"},}'),
        "MODULES: is not valid JSON: line 1, column 27: Expecting property name enclosed in double quotes",
        id="json-bad",
    ),
    pytest.param(
        with_modules('{\n  "hello": {"route" "/x"}\n}'),
        "MODULES: is not valid JSON: line 2, column 21: Expecting ':' delimiter",
        id="json-line",
    ),
    pytest.param(with_modules('{"a":' * 100_000), "MODULES: is nested too deeply", id="json-deep"),
    pytest.param(
        with_modules("{}"),
        'MODULES: names no container; it gives each container its route: {"container": {"route": "/path"}}',
        id="json-empty",
    ),
    pytest.param(with_modules("[]"), "MODULES: must be a JSON object", id="json-list"),
    pytest.param(with_modules('{"hello": NaN}'), "MODULES: is not valid JSON: NaN is no number", id="json-nan"),
    pytest.param(
        with_modules('{"hello": {"route": "/a"}, "hello": {"route": "/b"}}'),
        "MODULES: hello stands twice in one object; remove one",
        id="json-twice",
    ),
    pytest.param(
        with_modules('{"hello": {"route": "/a", "route": "/b"}}'),
        "MODULES: route stands twice in one object; remove one",
        id="json-key-twice",
    ),
    pytest.param(
        with_modules('{"hello": {"route": "/\\ud83d"}}'),
        "MODULES: holds half of a surrogate pair; write the character itself",
        id="json-surrogate",
    ),
    pytest.param(
        with_modules('{"hello": null}'),
        'MODULES: hello: must be an object, such as {"route": "/path"}',
        id="entry-null",
    ),
    pytest.param(
        with_modules('{"hello": "/hello"}'),
        'MODULES: hello = "/hello": must be an object, such as {"route": "/path"}',
        id="entry-text",
    ),
    pytest.param(
        manifest(entry={"rout": "/x"}), "MODULES: hello.rout: unknown field; did you mean route?", id="entry-unknown"
    ),
    pytest.param(
        manifest(entry={"allowedHosts": []}),
        "MODULES: hello.allowedHosts: unknown field; did you mean allowed_hosts?",
        id="entry-hosts-key",
    ),
    pytest.param(
        manifest(entry={"module": "x.wasm"}),
        'MODULES: hello.module = "x.wasm": does not belong here; the container\'s image is the module',
        id="entry-module",
    ),
    pytest.param(
        manifest(entry={"volumes": {"/a": "b"}}),
        "MODULES: hello.volumes: does not belong here; use volumeMounts in the container",
        id="entry-volumes",
    ),
    pytest.param(
        manifest(entry={"zzz": 1}),
        "MODULES: hello.zzz: unknown field; valid are route, entrypoint, allowed_hosts, http_max_concurrency",
        id="entry-odd",
    ),
    pytest.param(
        with_modules('{"hello": {}}'),
        'MODULES: hello.route: missing; write for example "/path", or "/path/..." for everything below it too',
        id="route-missing",
    ),
    pytest.param(
        manifest(entry={"route": ""}),
        (
            'MODULES: hello.route = "": must not be empty; write for example "/path", or "/path/..." for everything'
            " below it too"
        ),
        id="route-empty",
    ),
    pytest.param(
        manifest(entry={"route": 1}), "MODULES: hello.route = 1: must be text; put it in quotes", id="route-number"
    ),
    pytest.param(
        manifest(entry={"route": "hello"}),
        'MODULES: hello.route = "hello": a route starts with "/"; write "/hello"',
        id="route-relative",
    ),
    pytest.param(
        manifest(entry={"route": "/a/../b"}),
        (
            'MODULES: hello.route = "/a/../b": a route must not contain "." or ".." segments; they are resolved before'
            " routing"
        ),
        id="route-dots",
    ),
    pytest.param(
        manifest(
            {"containers": [HELLO, HELLO | {"name": "b"}]},
            annotations={MODULES: '{"hello": {"route": "/a"}, "b": {"route": "/a"}}'},
        ),
        'MODULES: b.route = "/a": container hello has this route; give it another one',
        id="route-twice",
    ),
    pytest.param(
        manifest(entry={"entrypoint": ""}),
        'MODULES: hello.entrypoint = "": must not be empty; leave it out for _start',
        id="entrypoint-empty",
    ),
    pytest.param(
        manifest(entry={"entrypoint": ["a"]}), "MODULES: hello.entrypoint: must be text", id="entrypoint-list"
    ),
    pytest.param(
        manifest(entry={"allowed_hosts": "https://a.example"}),
        'MODULES: hello.allowed_hosts = "https://a.example": must be a list',
        id="hosts-text",
    ),
    pytest.param(
        manifest(entry={"allowed_hosts": [1]}),
        "MODULES: hello.allowed_hosts[0]: must be text in quotes",
        id="hosts-number",
    ),
    pytest.param(
        manifest(entry={"allowed_hosts": ["ftp://a.example", "https://b.example"]}),
        (
            "MODULES: hello.allowed_hosts[0]: ftp://a.example: a guest can call http and https, not ftp; write for"
            ' example "https://api.example.com", "http://localhost:8080", "api.example.com", "*.example.com" or'
            ' "insecure:allow-all"'
        ),
        id="hosts-bad",
    ),
    pytest.param(
        manifest(entry={"http_max_concurrency": "5"}),
        'MODULES: hello.http_max_concurrency = "5": must be a whole number, 0 or more',
        id="concurrency",
    ),
    pytest.param(
        manifest(entry={"http_max_concurrency": -1}),
        "MODULES: hello.http_max_concurrency = -1: must be a whole number, 0 or more",
        id="concurrency-negative",
    ),
    pytest.param(
        manifest(entry={"http_max_concurrency": True}),
        "MODULES: hello.http_max_concurrency = true: must be a whole number, 0 or more",
        id="concurrency-bool",
    ),
    pytest.param(
        with_modules('{"helo": {"route": "/a"}}'),
        "MODULES: helo: there is no such container in spec.containers; did you mean hello?",
        id="no-container",
    ),
    pytest.param(manifest({"containers": ["hello"]}), "spec.containers[0]: must be a mapping", id="container-text"),
    pytest.param(manifest({"containers": {"hello": {}}}), "spec.containers: must be a list", id="containers-mapping"),
    pytest.param(
        manifest(container={"name": None}),
        "spec.containers[0]: name: missing; the annotation alpha.wagi.krustlet.dev/modules refers to it",
        id="name-missing",
    ),
    pytest.param(
        manifest(container={"name": 7}),
        "spec.containers[0]: name = 7: must be text; put it in quotes",
        id="name-number",
    ),
    pytest.param(
        manifest({"containers": [HELLO, HELLO]}),
        'spec.containers[1] (hello): name = "hello": another container has this name; give it one of its own',
        id="name-twice",
    ),
    pytest.param(
        manifest(container={"image": None}),
        (
            "spec.containers[0] (hello): image: missing; it is the module's reference, such as"
            " registry.example.com/hello:v1"
        ),
        id="image-missing",
    ),
    pytest.param(
        manifest(container={"image": ""}),
        (
            'spec.containers[0] (hello): image = "": must not be empty; it is the module\'s reference, such as'
            " registry.example.com/hello:v1"
        ),
        id="image-empty",
    ),
    pytest.param(
        manifest(container={"image": True}),
        "spec.containers[0] (hello): image = true: must be text; put it in quotes",
        id="image-bool",
    ),
    pytest.param(
        manifest(container={"imagepullpolicy": "Always"}),
        "spec.containers[0] (hello): imagepullpolicy: unknown field; did you mean imagePullPolicy?",
        id="container-typo",
    ),
    pytest.param(
        manifest(container={"imagePullPolicy": "always"}),
        'spec.containers[0] (hello): imagePullPolicy = "always": not a pull policy; did you mean Always?',
        id="policy",
    ),
    pytest.param(
        manifest(container={"imagePullPolicy": "xyz"}),
        'spec.containers[0] (hello): imagePullPolicy = "xyz": not a pull policy; valid are Always, IfNotPresent, Never',
        id="policy-odd",
    ),
    pytest.param(
        manifest(container={"command": ["a"]}),
        (
            "spec.containers[0] (hello): command: not supported, the image holds one module; choose its function with"
            ' "entrypoint" in the annotation'
        ),
        id="command",
    ),
    pytest.param(
        manifest(container={"args": ["a"]}),
        (
            "spec.containers[0] (hello): args: not supported, a guest's arguments come from the request; remove it, or"
            " set argv in a modules.toml"
        ),
        id="args",
    ),
    pytest.param(
        manifest(container={"workingDir": "/srv"}),
        (
            'spec.containers[0] (hello): workingDir = "/srv": not supported, WASI has no working directory; have the'
            " module use absolute paths"
        ),
        id="workdir",
    ),
    pytest.param(
        manifest(container={"lifecycle": {"preStop": {}}}),
        "spec.containers[0] (hello): lifecycle: not supported; run what it runs before and after the gateway",
        id="lifecycle",
    ),
    pytest.param(
        manifest(container={"envFrom": [{"configMapRef": {"name": "x"}}]}),
        (
            "spec.containers[0] (hello): envFrom: not supported, there is no cluster to ask; write the variables in"
            " env, or give them with --env-file"
        ),
        id="envfrom",
    ),
    pytest.param(
        manifest(container={"volumeDevices": [{"name": "x"}]}),
        "spec.containers[0] (hello): volumeDevices: not supported; a guest opens directories only: use volumeMounts",
        id="devices",
    ),
    pytest.param(
        manifest({"initContainers": [HELLO]}),
        (
            "spec.initContainers: not supported; do what they do before the gateway starts, with `wagi-gateway run` if"
            " it is a module"
        ),
        id="init",
    ),
    pytest.param(
        manifest({"ephemeralContainers": [HELLO]}), "spec.ephemeralContainers: not supported; remove it", id="ephemeral"
    ),
    pytest.param(
        manifest({"hostAliases": [{"ip": "10.0.0.1"}]}),
        "spec.hostAliases: not supported, names are resolved as on this host; add them to its /etc/hosts",
        id="aliases",
    ),
    pytest.param(
        manifest({"initContainer": []}),
        "spec.initContainer: unknown field; did you mean initContainers?",
        id="spec-typo",
    ),
    pytest.param(
        manifest({"node_selector": {}}),
        "spec.node_selector: unknown field; did you mean nodeSelector?",
        id="spec-typo2",
    ),
    pytest.param(manifest({"qqq": 1}), "spec.qqq: unknown field", id="spec-odd"),
    pytest.param(
        manifest(container={"env": {"A": "b"}}), "spec.containers[0] (hello): env: must be a list", id="env-mapping"
    ),
    pytest.param(
        with_env({"name": "PORT", "value": 8080}),
        "spec.containers[0] (hello): env[0] (PORT).value: must be text; put it in quotes",
        id="env-number",
    ),
    pytest.param(
        with_env({"name": "DEBUG", "value": True}),
        "spec.containers[0] (hello): env[0] (DEBUG).value: must be text; put it in quotes",
        id="env-bool",
    ),
    pytest.param(
        with_env({"value": "x"}),
        "spec.containers[0] (hello): env[0].name: missing; it is the variable's name",
        id="env-no-name",
    ),
    pytest.param(
        with_env({"name": "A=B", "value": "x"}),
        "spec.containers[0] (hello): env[0] (A=B).name = \"A=B\": must not contain '=' or NUL",
        id="env-equals",
    ),
    pytest.param(
        with_env({"name": "PATH_INFO", "value": "x"}),
        (
            'spec.containers[0] (hello): env[0] (PATH_INFO).name = "PATH_INFO": the request sets this variable; choose'
            " another name"
        ),
        id="env-meta",
    ),
    pytest.param(
        with_env({"name": "A", "value": "\0"}),
        "spec.containers[0] (hello): env[0] (A).value: must not contain NUL",
        id="env-nul",
    ),
    pytest.param(
        with_env({"name": "A", "valeu": "x"}),
        "spec.containers[0] (hello): env[0] (A).valeu: unknown field; did you mean value?",
        id="env-typo",
    ),
    pytest.param(
        with_env({"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
        "spec.containers[0] (hello): env[0] (A).valueFrom: value stands there too; remove one",
        id="env-both",
    ),
    pytest.param(
        with_env({"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}),
        (
            "spec.containers[0] (hello): env[0] (A).valueFrom.secretKeyRef: not supported, there is no cluster to ask;"
            " give the value with -e or --env-file"
        ),
        id="env-secret",
    ),
    pytest.param(
        with_env({"name": "A", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k"}}}),
        (
            "spec.containers[0] (hello): env[0] (A).valueFrom.configMapKeyRef: not supported, there is no cluster to"
            " ask; write the value here, or give it with -e or --env-file"
        ),
        id="env-map",
    ),
    pytest.param(
        with_env({"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}),
        "spec.containers[0] (hello): env[0] (A).valueFrom.resourceFieldRef: not supported; write the value here",
        id="env-resource",
    ),
    pytest.param(
        with_env({"name": "A", "valueFrom": "x"}),
        'spec.containers[0] (hello): env[0] (A).valueFrom = "x": must be a mapping',
        id="env-from-text",
    ),
    pytest.param(
        with_env({"name": "A", "valueFrom": {}}),
        "spec.containers[0] (hello): env[0] (A).valueFrom: names no source; write the value in value",
        id="env-from-empty",
    ),
    pytest.param(
        with_env({"name": "A", "valueFrom": {"fieldRef": {}}}),
        (
            "spec.containers[0] (hello): env[0] (A).valueFrom.fieldRef.fieldPath: missing; it names a field of the"
            " Pod, such as metadata.name"
        ),
        id="field-missing",
    ),
    pytest.param(
        with_env({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}),
        (
            'spec.containers[0] (hello): env[0] (A).valueFrom.fieldRef.fieldPath = "metadata.namespace": the manifest'
            " does not set it; write it there, or the value in value"
        ),
        id="field-unset",
    ),
    pytest.param(
        with_env({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['x']"}}}),
        (
            "spec.containers[0] (hello): env[0] (A).valueFrom.fieldRef.fieldPath = \"metadata.labels['x']\": the"
            " manifest does not set it; write it there, or the value in value"
        ),
        id="field-label",
    ),
    pytest.param(
        with_env({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}),
        (
            'spec.containers[0] (hello): env[0] (A).valueFrom.fieldRef.fieldPath = "status.podIP": is known in a'
            " cluster only; write the value in value"
        ),
        id="field-ip",
    ),
    pytest.param(
        with_env({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.nam"}}}),
        (
            'spec.containers[0] (hello): env[0] (A).valueFrom.fieldRef.fieldPath = "metadata.nam": not a field that a'
            " variable can have; did you mean metadata.name?"
        ),
        id="field-typo",
    ),
    pytest.param(
        with_env({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}),
        (
            'spec.containers[0] (hello): env[0] (A).valueFrom.fieldRef.fieldPath = "x": not a field that a variable'
            " can have; valid are metadata.name, metadata.namespace, metadata.uid, spec.nodeName,"
            " spec.serviceAccountName, metadata.labels['KEY'], metadata.annotations['KEY']"
        ),
        id="field-odd",
    ),
    pytest.param(
        with_volumes([{"name": "data", "secret": {"secretName": "s"}}], AT_DATA),
        "spec.volumes[0] (data): secret: not supported; keep the files in a directory of this host and use hostPath",
        id="vol-secret",
    ),
    pytest.param(
        with_volumes([{"name": "data", "persistentVolumeClaim": {"claimName": "s"}}], AT_DATA),
        (
            "spec.volumes[0] (data): persistentVolumeClaim: not supported; use hostPath with the directory that holds"
            " the data"
        ),
        id="vol-pvc",
    ),
    pytest.param(
        with_volumes([{"name": "data", "projected": {"sources": []}}], AT_DATA),
        (
            "spec.volumes[0] (data): projected: not supported; a service account's token means nothing here; for other"
            " files, keep the files in a directory of this host and use hostPath"
        ),
        id="vol-projected",
    ),
    pytest.param(
        with_volumes([{"name": "data", "hostpath": {"path": "/srv"}}], AT_DATA),
        "spec.volumes[0] (data): hostpath: unknown field; did you mean hostPath?",
        id="vol-typo",
    ),
    pytest.param(
        with_volumes([SRV | {"emptyDir": {}}], AT_DATA),
        "spec.volumes[0] (data): emptyDir: a volume is of one kind, and hostPath stands there too; remove one",
        id="vol-two",
    ),
    pytest.param(
        with_volumes([SRV, SRV], AT_DATA),
        'spec.volumes[1] (data): name = "data": another volume has this name; give it one of its own',
        id="vol-twice",
    ),
    pytest.param(
        with_volumes([{"emptyDir": {}}]), "spec.volumes[0]: name: missing; volumeMounts refer to it", id="vol-no-name"
    ),
    pytest.param(
        with_volumes([{"name": "data", "hostPath": {"path": "srv"}}], AT_DATA),
        'spec.volumes[0] (data): hostPath.path = "srv": must be an absolute path without ".."',
        id="vol-rel",
    ),
    pytest.param(
        with_volumes([{"name": "data", "hostPath": {"path": "/srv/../etc"}}], AT_DATA),
        'spec.volumes[0] (data): hostPath.path = "/srv/../etc": must be an absolute path without ".."',
        id="vol-up",
    ),
    pytest.param(
        with_volumes([{"name": "data", "hostPath": {}}], AT_DATA),
        "spec.volumes[0] (data): hostPath.path: missing; it is a directory of this host",
        id="vol-nopath",
    ),
    pytest.param(
        with_volumes([{"name": "data", "hostPath": "/srv"}], AT_DATA),
        'spec.volumes[0] (data): hostPath = "/srv": must be a mapping',
        id="vol-text",
    ),
    pytest.param(
        with_volumes([{"name": "data", "hostPath": {"path": "/etc/passwd", "type": "File"}}], AT_DATA),
        (
            'spec.volumes[0] (data): hostPath.type = "File": a guest opens directories only; mount the directory that'
            " holds it"
        ),
        id="vol-file",
    ),
    pytest.param(
        with_volumes([{"name": "data", "hostPath": {"path": "/srv", "type": "directory"}}], AT_DATA),
        'spec.volumes[0] (data): hostPath.type = "directory": not a type of hostPath; did you mean Directory?',
        id="vol-type",
    ),
    pytest.param(
        with_volumes([{"name": "data", "hostPath": {"pth": "/srv"}}], AT_DATA),
        [
            "spec.volumes[0] (data): hostPath.pth: unknown field; did you mean path?",
            "spec.volumes[0] (data): hostPath.path: missing; it is a directory of this host",
        ],
        id="vol-hp-typo",
    ),
    pytest.param(
        with_volumes([{"name": "data", "emptyDir": {"mediun": ""}}], AT_DATA),
        "spec.volumes[0] (data): emptyDir.mediun: unknown field; did you mean medium?",
        id="ed-typo",
    ),
    pytest.param(
        with_volumes([SRV], {"name": "dta", "mountPath": "/data"}),
        (
            'spec.containers[0] (hello): volumeMounts[0] (dta).name = "dta": there is no such volume in spec.volumes;'
            " did you mean data?"
        ),
        id="mount-unknown",
    ),
    pytest.param(
        with_volumes([SRV], {"name": "data"}),
        (
            "spec.containers[0] (hello): volumeMounts[0] (data).mountPath: missing; it is the guest's name for the"
            ' directory, such as "/data"'
        ),
        id="mount-nopath",
    ),
    pytest.param(
        with_volumes([SRV], AT_DATA | {"mountPath": "data"}),
        (
            'spec.containers[0] (hello): volumeMounts[0] (data).mountPath = "data": must be an absolute path without'
            ' "..", such as "/data"'
        ),
        id="mount-rel",
    ),
    pytest.param(
        with_volumes([SRV], AT_DATA | {"mountPath": "/a/../b"}),
        (
            'spec.containers[0] (hello): volumeMounts[0] (data).mountPath = "/a/../b": must be an absolute path'
            ' without "..", such as "/data"'
        ),
        id="mount-up",
    ),
    pytest.param(
        with_volumes([SRV], AT_DATA, AT_DATA | {"mountPath": "/data/"}),
        (
            'spec.containers[0] (hello): volumeMounts[1] (data).mountPath = "/data/": another volume is mounted there;'
            " mount it elsewhere"
        ),
        id="mount-twice",
    ),
    pytest.param(
        with_volumes([SRV], AT_DATA | {"readOnly": "yes"}),
        'spec.containers[0] (hello): volumeMounts[0] (data).readOnly = "yes": must be true or false',
        id="mount-ro",
    ),
    pytest.param(
        with_volumes([SRV], AT_DATA | {"readonly": True}),
        "spec.containers[0] (hello): volumeMounts[0] (data).readonly: unknown field; did you mean readOnly?",
        id="mount-typo",
    ),
    pytest.param(
        with_volumes([SRV], AT_DATA | {"subPath": "../etc"}),
        (
            'spec.containers[0] (hello): volumeMounts[0] (data).subPath = "../etc": must be a relative path without'
            ' ".."; it starts in the volume'
        ),
        id="mount-sub-up",
    ),
    pytest.param(
        with_volumes([SRV], AT_DATA | {"subPath": "/etc"}),
        (
            'spec.containers[0] (hello): volumeMounts[0] (data).subPath = "/etc": must be a relative path without'
            ' ".."; it starts in the volume'
        ),
        id="mount-sub-abs",
    ),
    pytest.param(
        with_volumes([SRV], AT_DATA | {"subPathExpr": "$(A)"}),
        (
            'spec.containers[0] (hello): volumeMounts[0] (data).subPathExpr = "$(A)": not supported; write the path in'
            " subPath"
        ),
        id="mount-expr",
    ),
    pytest.param(
        with_volumes([{"name": "data", "emptyDir": {}}], AT_DATA | {"subPath": "a"}),
        (
            'spec.containers[0] (hello): volumeMounts[0] (data).subPath = "a": not supported in an emptyDir; give it'
            " an emptyDir of its own"
        ),
        id="mount-sub-ed",
    ),
    pytest.param(
        manifest(container={"volumeMounts": ["data"]}),
        "spec.containers[0] (hello): volumeMounts[0]: must be a mapping",
        id="mount-text",
    ),
    pytest.param(
        with_memory("128MB"),
        'spec.containers[0] (hello): resources.limits.memory = "128MB": not a quantity; write for example "128Mi"',
        id="mem-bad",
    ),
    pytest.param(
        with_memory("128m"),
        (
            'spec.containers[0] (hello): resources.limits.memory = "128m": a guest needs 64KiB at least; "Mi" are'
            ' mebibytes, "m" thousandths'
        ),
        id="mem-m",
    ),
    pytest.param(
        with_memory("-1Mi"),
        'spec.containers[0] (hello): resources.limits.memory = "-1Mi": not a quantity; write for example "128Mi"',
        id="mem-neg",
    ),
    pytest.param(
        with_memory(True),
        'spec.containers[0] (hello): resources.limits.memory = true: not a quantity; write for example "128Mi"',
        id="mem-bool",
    ),
    pytest.param(
        with_memory([1]),
        'spec.containers[0] (hello): resources.limits.memory: not a quantity; write for example "128Mi"',
        id="mem-list",
    ),
    pytest.param(
        with_memory("9" * 5000),
        (
            "spec.containers[0] (hello): resources.limits.memory ="
            ' "999999999999999999999999999999999999999999999999999999999999…": not a quantity; write for example'
            ' "128Mi"'
        ),
        id="mem-huge",
    ),
    pytest.param(
        manifest(container={"resources": {"limit": {}}}),
        "spec.containers[0] (hello): resources.limit: unknown field; did you mean limits?",
        id="res-typo",
    ),
    pytest.param(
        manifest(container={"resources": "1Gi"}),
        'spec.containers[0] (hello): resources = "1Gi": must be a mapping',
        id="res-text",
    ),
    pytest.param(manifest({"\x1b[31m": 1}), 'spec."\\u001b[31m": unknown field', id="esc"),
    pytest.param(
        manifest(container={"imagePullPolicy": "x\ny" * 100}),
        (
            "spec.containers[0] (hello): imagePullPolicy ="
            ' "x\\nyx\\nyx\\nyx\\nyx\\nyx\\nyx\\nyx\\nyx\\nyx\\nyx\\nyx\\nyx\\nyx\\nyx\\nyx\\nyx\\nyx\\nyx\\nyx\\ny…":'
            " not a pull policy; valid are Always, IfNotPresent, Never"
        ),
        id="long",
    ),
]


@pytest.mark.parametrize(("text", "problem"), WRONG)
def test_wrong(tmp_path: Path, text: str, problem: str | list[str]) -> None:
    assert problems(tmp_path, text) == ([problem] if isinstance(problem, str) else problem)


def test_the_annotations_full_name(tmp_path: Path) -> None:
    (problem,) = read(tmp_path, manifest(entry={"rout": "/x"})).problems
    where = f"{tmp_path / 'pod.yaml'}: metadata.annotations.alpha.wagi.krustlet.dev/modules"
    assert str(problem) == f"{where}: hello.rout: unknown field; did you mean route?"


def test_every_mistake_is_said(tmp_path: Path) -> None:
    text = manifest({"initContainers": [HELLO], "nodeselector": {}}, {"command": ["a"], "image": None}, {"rout": "/x"})
    assert len(problems(tmp_path, text)) == 5


def test_what_is_right_is_kept(tmp_path: Path) -> None:
    broken = HELLO | {"name": "b", "image": None}
    modules = json.dumps(
        {"hello": {"route": "/hello", "allowed_hosts": ["ftp://x", "a.example"]}, "b": {"route": "/b"}}
    )
    file = read(tmp_path, manifest({"containers": [broken, HELLO]}, annotations={MODULES: modules}))
    assert len(file.problems) == 2
    assert file.containers == ("hello",)
    assert file.tables["module"] == [
        {"route": "/hello", "module": "oci:example.com/hello:v1", "allowed_hosts": ["a.example"]}
    ]


def test_reference_that_is_none(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, manifest(container={"image": "Example.com/HELLO"}))
    assert problem.startswith('spec.containers[0] (hello): image = "Example.com/HELLO": ')


def test_key_that_stands_twice(tmp_path: Path) -> None:
    text = manifest()[:-1] + ',\n"kind": "Pod"}'
    assert problems(tmp_path, text) == ['line 2, column 1: the key "kind" stands twice; the first is in line 1']


def test_values_of_variables_are_not_shown(tmp_path: Path) -> None:
    variables: list[Fields] = [
        {"name": "A", "value": 31337},
        {"name": "B", "value": "31337\0"},
        {"name": "C", "vaule": "31337"},
    ]
    found = problems(tmp_path, with_env(*variables))
    assert len(found) == 3
    assert not any("31337" in problem for problem in found)


def test_variables_that_double(tmp_path: Path) -> None:
    double = [{"name": f"A{number + 1}", "value": f"$(A{number})" * 2} for number in range(64)]
    assert problems(tmp_path, with_env({"name": "A0", "value": "x" * 1000}, *double)) == [
        "spec.containers[0] (hello): env[10] (A10).value: the variables of all containers grow to more than 1,048,576"
        " characters; shorten them"
    ]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        pytest.param(
            json.dumps({"kind": "Service", "metadata": {"name": "web"}}) + "\n---\n" + manifest(),
            'Service "web" is not read; only the Pod is',
            id="service",
        ),
        pytest.param(
            json.dumps({"kind": "List", "items": [json.loads(manifest()), {"kind": "Service"}]}),
            "Service is not read; only the Pod is",
            id="listed",
        ),
        pytest.param(
            manifest({"containers": [HELLO, {"name": "b", "command": ["x"]}]}),
            "spec.containers[1] (b): is not served: the annotation alpha.wagi.krustlet.dev/modules gives it no route",
            id="unserved",
        ),
        pytest.param(
            manifest({"imagePullSecrets": [{"name": "s"}]}),
            (
                "spec.imagePullSecrets: is not read; credentials come from a Docker config file: `docker login`,"
                " --auth-file or REGISTRY_AUTH_FILE"
            ),
            id="secrets",
        ),
        pytest.param(
            manifest({"restartPolicy": "Never"}),
            'spec.restartPolicy = "Never": has no effect; every request gets a fresh sandbox',
            id="restart",
        ),
        pytest.param(
            manifest({"dnsPolicy": "None"}),
            'spec.dnsPolicy = "None": has no effect; names are resolved as on this host',
            id="dns",
        ),
        pytest.param(
            manifest({"serviceAccountName": "bot"}),
            'spec.serviceAccountName = "bot": has no effect; a guest has no account in a cluster',
            id="sa",
        ),
        pytest.param(
            manifest({"hostPID": True}), "spec.hostPID = true: has no effect; a guest sees no other process", id="pid"
        ),
        pytest.param(
            manifest({"hostname": "h"}),
            'spec.hostname = "h": has no effect; a guest cannot ask for its host\'s name',
            id="hostn",
        ),
        pytest.param(
            manifest({"securityContext": {"runAsUser": 1}}),
            "spec.securityContext: has no effect; a guest is in a sandbox and reaches nothing it was not given",
            id="sec",
        ),
        pytest.param(
            manifest({"activeDeadlineSeconds": 3}),
            "spec.activeDeadlineSeconds = 3: has no effect; the gateway serves until it is stopped",
            id="deadline",
        ),
        pytest.param(
            manifest({"terminationGracePeriodSeconds": 5}),
            "spec.terminationGracePeriodSeconds = 5: has no effect; set shutdown_grace in [server] of a modules.toml",
            id="grace",
        ),
        pytest.param(
            manifest({"resources": {"limits": {}}}),
            "spec.resources: has no effect; set limits.memory in the resources of each container",
            id="podres",
        ),
        pytest.param(
            manifest(container={"ports": [{"containerPort": 80}]}),
            (
                "spec.containers[0] (hello): ports: has no effect; the annotation alpha.wagi.krustlet.dev/default-host"
                " says where to listen"
            ),
            id="ports",
        ),
        pytest.param(
            manifest(container={"readinessProbe": {"httpGet": {"path": "/"}}}),
            "spec.containers[0] (hello): readinessProbe: has no effect; GET /healthz answers while the gateway serves",
            id="probe",
        ),
        pytest.param(
            manifest(container={"tty": True}),
            (
                "spec.containers[0] (hello): tty = true: has no effect; a guest's standard input is the body of the"
                " request"
            ),
            id="tty",
        ),
        pytest.param(
            manifest(container={"securityContext": {"privileged": True}}),
            (
                "spec.containers[0] (hello): securityContext: has no effect; a guest is in a sandbox and reaches"
                " nothing it was not given"
            ),
            id="csec",
        ),
        pytest.param(
            manifest(container={"resources": {"requests": {"cpu": "1"}}}),
            (
                "spec.containers[0] (hello): resources.requests: has no effect; a guest takes what it uses, up to its"
                " limits"
            ),
            id="requests",
        ),
        pytest.param(
            manifest(container={"resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}),
            (
                'spec.containers[0] (hello): resources.limits.cpu = "500m": has no effect; limits.time and'
                " limits.concurrency of a modules.toml bound a guest"
            ),
            id="cpu",
        ),
        pytest.param(
            manifest({"volumes": [{"name": "s", "secret": {}}]}),
            "spec.volumes[0] (s): secret: not supported, and not mounted by a container that is served",
            id="unmounted",
        ),
        pytest.param(
            with_volumes([{"name": "data", "hostPath": {"path": "/srv", "type": "DirectoryOrCreate"}}], AT_DATA),
            (
                'spec.volumes[0] (data): hostPath.type = "DirectoryOrCreate": the directory is not made here; it must'
                " be there when the gateway starts"
            ),
            id="create",
        ),
        pytest.param(
            with_volumes([{"name": "data", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}], AT_DATA),
            [
                (
                    'spec.volumes[0] (data): emptyDir.medium = "Memory": has no effect; the directory is made where'
                    " this host keeps temporary files"
                ),
                (
                    'spec.volumes[0] (data): emptyDir.sizeLimit = "1Gi": has no effect; the size of the directory has'
                    " no limit"
                ),
            ],
            id="medium",
        ),
        pytest.param(
            with_volumes([SRV], AT_DATA | {"mountPropagation": "HostToContainer"}),
            (
                'spec.containers[0] (hello): volumeMounts[0] (data).mountPropagation = "HostToContainer": has no'
                " effect; a guest sees what is mounted on this host"
            ),
            id="prop",
        ),
        pytest.param(
            with_env({"name": "A", "value": "1"}, {"name": "A", "value": "2"}),
            'spec.containers[0] (hello): env[1] (A).name = "A": stands twice; the last one counts',
            id="env2",
        ),
    ],
)
def test_warning(tmp_path: Path, text: str, warning: str | list[str]) -> None:
    file = read(tmp_path, text)
    assert not file.problems
    cut = f"{tmp_path / 'pod.yaml'}: "
    assert [str(found).removeprefix(cut) for found in file.warnings] == (
        [warning] if isinstance(warning, str) else warning
    )


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
    """A whole manifest in which a few values, wherever they are, are others."""
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
    """Whatever stands there, it is a mistake that is said, or a configuration."""
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
