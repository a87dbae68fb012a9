"""Docker's configuration as Docker, podman, skopeo, kubectl and a kubelet write or accept it: the user of each
reference, by the function that `serve` and `pull` use, and by real tools against a real registry."""

from __future__ import annotations

import json
import re
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.credential_helper import helper
from tests.support.publishing import live_alone, publish, run, says
from tests.support.registry import PASSWORD, USERNAME, Registry, installed
from wagi_gateway.config.image_reference import ImageReference
from wagi_gateway.sources.oci.credentials import CredentialSource


def auth(username: str, password: str = "pw") -> str:
    """The base64 of user name and password."""
    return b64encode(f"{username}:{password}".encode()).decode()


LONG = auth("ann", "x" * 60)


class File(NamedTuple):
    """A file and the user for each reference, `None` for none; a token is `user#token`. `<ann>` stands for base64."""

    text: str
    users: dict[str, str | None]


DOCKER = {
    "docker login": File(
        """{
	"auths": {
		"https://index.docker.io/v1/": {
			"auth": "<ann>"
		}
	}
}""",
        {"hello": "ann", "docker.io/team/hello": "ann", "index.docker.io/team/hello": "ann", "ghcr.io/team/x": None},
    ),
    "docker login, several registries": File(
        """{
	"auths": {
		"ghcr.io": {"auth": "<ann>"},
		"https://index.docker.io/v1/": {"auth": "<bob>"},
		"localhost:5000": {"auth": "<eve>"}
	},
	"HttpHeaders": {"User-Agent": "Docker-Client/19.03.8 (linux)"},
	"detachKeys": "ctrl-e,e",
	"currentContext": "default"
}""",
        {
            "ghcr.io/team/x": "ann",
            "hello": "bob",
            "localhost:5000/x": "eve",
            "localhost:5001/x": None,
            "quay.io/x": None,
        },
    ),
    "docker login of 2015, with e-mail": File(
        '{"auths":{"https://registry.example.com/v1/":{"auth":"<ann>","email":"ann@example.com"}}}',
        {"registry.example.com/x": "ann", "registry.example.com:443/x": None},
    ),
    "docker login of a registry's URL": File(
        '{"auths":{"https://registry.example.com/v2/":{"auth":"<ann>"},"http://10.0.0.1:5000":{"auth":"<bob>"}}}',
        {"registry.example.com/a/b": "ann", "10.0.0.1:5000/x": "bob", "10.0.0.1/x": None},
    ),
    "docker login of a URL with a path": File(
        '{"auths":{"https://gitlab.example.com:5050/group/project":{"auth":"<ann>"}}}',
        {"gitlab.example.com:5050/group/project/x": "ann", "gitlab.example.com:5050/other/x": "ann"},
    ),
    ".dockercfg of Docker 1.6": File(
        '{"https://index.docker.io/v1/":{"auth":"<ann>","email":"ann@example.com"},"quay.io":{"auth":"<bob>","email":""}}',
        {"hello": "ann", "quay.io/x": "bob"},
    ),
    "az acr login": File(
        '{"auths":{"team.azurecr.io":{"auth":"MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwOg==","identitytoken":"eyJh.J9"}}}',
        {"team.azurecr.io/x": "00000000-0000-0000-0000-000000000000#eyJh.J9"},
    ),
    "aws ecr get-login-password": File(
        json.dumps(
            {"auths": {"123456789012.dkr.ecr.eu-west-1.amazonaws.com": {"auth": auth("AWS", "eyJwYXls" * 200)}}}
        ),
        {"123456789012.dkr.ecr.eu-west-1.amazonaws.com/x": "AWS"},
    ),
    "a service account of Google": File(
        json.dumps({"auths": {"europe-docker.pkg.dev": {"auth": auth("_json_key", '{"type": "service_account"}\n')}}}),
        {"europe-docker.pkg.dev/p/r/x": "_json_key"},
    ),
    "docker login for Docker Hub's website": File(
        '{"auths":{"https://index.docker.io/v1/":{"auth":"<ann>"},"https://index.docker.io/v1/access-token":{"auth":"<bob>"},'
        '"https://index.docker.io/v1/refresh-token":{"auth":"<eve>"}}}',
        {"hello": "ann"},
    ),
    "docker logout": File('{\n\t"auths": {}\n}', {"hello": None}),
    "empty": File("", {"hello": None}),
    "no login yet": File('{"psFormat": "table {{.ID}}", "plugins": {"x": {"y": "z"}}}', {"hello": None}),
    "proxies": File('{"proxies":{"default":{"httpProxy":"http://ann:pw@proxy:3128"}}}', {"hello": None}),
    "a registry token": File('{"auths":{"ghcr.io":{"registrytoken":"ghs_abc"}}}', {"ghcr.io/x": "#ghs_abc"}),
    "a colon, spaces and UTF-8": File(
        json.dumps({"auths": {"ghcr.io": {"auth": auth("änn", " p:w: ü ")}}}), {"ghcr.io/x": "änn"}
    ),
}
PODMAN = {
    "podman login": File(
        '{\n\t"auths": {\n\t\t"quay.io": {\n\t\t\t"auth": "<ann>"\n\t\t}\n\t}\n}', {"quay.io/x": "ann"}
    ),
    "podman login of Docker Hub": File('{"auths":{"docker.io":{"auth":"<ann>"}}}', {"hello": "ann"}),
    "podman login of a namespace": File(
        '{"auths":{"quay.io":{"auth":"<ann>"},"quay.io/org":{"auth":"<bob>"},"quay.io/org/app":{"auth":"<eve>"}}}',
        {"quay.io/x": "ann", "quay.io/org/x": "bob", "quay.io/org/app": "eve", "quay.io/organic/x": "ann"},
    ),
    "podman login of one namespace": File(
        '{"auths":{"quay.io/org":{"auth":"<ann>"}}}', {"quay.io/org/x": "ann", "quay.io/other/x": None}
    ),
    "podman login of a port's namespace": File(
        '{"auths":{"localhost:5000/org":{"auth":"<ann>"}}}',
        {"localhost:5000/org/x": "ann", "localhost:5000/x": None},
    ),
    "podman login of a namespace of Docker Hub": File(
        '{"auths":{"docker.io/team":{"auth":"<ann>"},"docker.io":{"auth":"<bob>"}}}',
        {"team/x": "ann", "hello": "bob"},
    ),
    "base64 -w 76": File(
        json.dumps({"auths": {"quay.io": {"auth": f"{LONG[:76]}\n{LONG[76:]}\n"}}}), {"quay.io/x": "ann"}
    ),
    "echo user:pw | base64": File(
        json.dumps({"auths": {"quay.io": {"auth": b64encode(b"ann:pw\n").decode()}}}), {"quay.io/x": "ann"}
    ),
    "CRLF": File('{\r\n "auths": {\r\n  "quay.io": {"auth": "<ann>\\r\\n"}\r\n }\r\n}', {"quay.io/x": "ann"}),
}
KUBERNETES = {
    "kubectl create secret docker-registry": File(
        '{"auths":{"registry.example.com":{"username":"ann","password":"p:w","email":"e@x","auth":"YW5uOnA6dw=="}}}',
        {"registry.example.com/x": "ann"},
    ),
    "kubectl create secret docker-registry, without a server": File(
        '{"auths":{"https://index.docker.io/v1/":{"username":"ann","password":"pw","auth":"<ann>"}}}',
        {"hello": "ann"},
    ),
    "kubectl of 2016, .dockercfg": File(
        '{"https://registry.example.com":{"username":"ann","password":"pw","email":"e@x","auth":"<ann>"}}',
        {"registry.example.com/x": "ann"},
    ),
    ".dockercfg without auth": File(
        '{"registry.example.com":{"username":"ann","password":"pw"}}', {"registry.example.com/x": "ann"}
    ),
    "Terraform, without auth": File(
        '{"auths":{"registry.example.com":{"username":"ann","password":"pw"}}}', {"registry.example.com/x": "ann"}
    ),
    "capital letters": File(
        '{"auths":{"registry.example.com":{"Username":"ann","Password":"pw","Email":"e@x"}}}',
        {"registry.example.com/x": "ann"},
    ),
    "capital letters everywhere": File('{"Auths":{"quay.io":{"Auth":"<ann>"}}}', {"quay.io/x": "ann"}),
    "auth beside another user": File(
        '{"auths":{"quay.io":{"username":"bob","password":"x","auth":"<ann>"}}}', {"quay.io/x": "ann"}
    ),
    "base64 without padding": File('{"auths":{"quay.io":{"auth":"YW5uOnBhc3M"}}}', {"quay.io/x": "ann"}),
    "a kubelet's wildcards": File(
        '{"auths":{"*.example.com":{"auth":"<ann>"},"r.example.com":{"auth":"<bob>"},"*.example.com:5000/org":{"auth":"<eve>"}}}',
        {
            "a.example.com/x": "ann",
            "r.example.com/x": "bob",
            "a.example.com:5000/org/x": "eve",
            "a.example.com:5000/x": None,
            "a.b.example.com/x": None,
            "example.com/x": None,
        },
    ),
    "wildcards in two labels": File(
        '{"auths":{"*.dkr.ecr.*.amazonaws.com":{"auth":"<ann>"}}}',
        {"1.dkr.ecr.eu-west-1.amazonaws.com/x": "ann", "1.ecr.eu-west-1.amazonaws.com/x": None},
    ),
    "an editor's byte order mark": File('\ufeff{"auths":{"quay.io":{"auth":"<ann>"}}}', {"quay.io/x": "ann"}),
    "a brace too many": File('{"auths":{"quay.io":{"auth":"<ann>"}}}}\n', {"quay.io/x": "ann"}),
}
STORES = {
    "credsStore": File(
        '{"auths":{"ghcr.io":{},"https://index.docker.io/v1/":{}},"credsStore":"test"}', {"ghcr.io/x": "ghcr.io"}
    ),
    "credsStore for Docker Hub": File('{"credsStore":"test"}', {"hello": "https://index.docker.io/v1/"}),
    "credHelpers": File(
        '{"auths":{"quay.io":{"auth":"<ann>"}},"credHelpers":{"europe-docker.pkg.dev":"test"}}',
        {"europe-docker.pkg.dev/x": "europe-docker.pkg.dev", "quay.io/x": "ann", "ghcr.io/x": None},
    ),
    "credHelpers before auths": File(
        '{"auths":{"quay.io":{"auth":"<ann>"}},"credHelpers":{"quay.io":"test"}}', {"quay.io/x": "quay.io"}
    ),
}
FILES = DOCKER | PODMAN | KUBERNETES | STORES
CASES = [
    pytest.param(re.sub("<(...)>", lambda match: auth(match[1]), file.text), reference, user, id=f"{name}: {reference}")
    for name, file in FILES.items()
    for reference, user in file.users.items()
]


def test_the_table_is_a_large_one() -> None:
    assert len(FILES) >= 40


@pytest.mark.parametrize(("text", "reference", "user"), CASES)
def test_the_user_of_a_reference(tmp_path: Path, text: str, reference: str, user: str | None) -> None:
    """The helper's user name is the server that it is asked for."""
    environ = helper(tmp_path, """read server; echo "{\\"Username\\": \\"$server\\", \\"Secret\\": \\"pw\\"}" """)
    (tmp_path / "auth.json").write_text(text, encoding="utf-8", newline="")
    image = ImageReference.parse(reference)
    source = CredentialSource([tmp_path / "auth.json"], environ, {}, tmp_path)
    found = source.find(image.registry, image.repository)
    assert found.warnings == ()
    if found.credentials is None:
        assert user is None
    else:
        token = found.credentials.identity_token or found.credentials.registry_token
        assert f"{found.credentials.username}{token and f'#{token}'}" == user
        assert bool(found.credentials.password) != bool(token)


def test_a_password_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "auth.json").write_text(DOCKER["a colon, spaces and UTF-8"].text)
    found = CredentialSource([tmp_path / "auth.json"], {"HOME": str(tmp_path)}, {}, tmp_path).find("ghcr.io", "x")
    assert found.credentials
    assert found.credentials.password == " p:w: ü "


def test_skopeo_finds_the_same_users(tmp_path: Path) -> None:
    """Docker 28.2, with a server in the daemon's place, does so for the files in DOCKER and STORES."""
    found = {}
    for number, file in enumerate(PODMAN.values()):
        path = tmp_path / f"{number}.json"
        path.write_text(re.sub("<(...)>", lambda match: auth(match[1]), file.text), newline="")
        for reference in file.users:
            image = ImageReference.parse(reference)
            name = f"{image.registry}/{image.repository}"
            command = [installed("skopeo"), "login", "--get-login", "--authfile", str(path), name]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            found[number, reference] = done.stdout.strip() or None
    expected = {
        (number, reference): user
        for number, file in enumerate(PODMAN.values())
        for reference, user in file.users.items()
    }
    assert found == expected


@pytest.mark.parametrize("scope", ["", "/team"], ids=["registry", "namespace"])
@pytest.mark.parametrize("tool", ["skopeo", "buildah"])
def test_a_login_by_a_real_tool(
    private_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, scope: str
) -> None:
    """The file that the tool writes to its own place is found there, on the first start and on the second."""
    live_alone(monkeypatch, tmp_path / "home")
    (tmp_path / "home/run").mkdir()
    registry = private_registry
    assert registry.ca_file
    publish(registry, "team/hello:latest", says("hello"))
    login = ["login", "--cert-dir", str(registry.ca_file.parent), "-u", USERNAME, "--password-stdin"]
    subprocess.run(
        [installed(tool), *login, registry.address + scope], input=PASSWORD, text=True, check=True, timeout=60
    )
    (tmp_path / "gateway.toml").write_text(f'[registries."{registry.address}"]\nca_file = "{registry.ca_file}"\n')
    pull = ("pull", f"{registry.address}/team/hello:latest", "--settings", "gateway.toml", "--cache-dir", "cache")
    for _ in range(2):
        assert run(*pull, cwd=tmp_path)[0].startswith(f"{registry.address}/team/hello:latest")
