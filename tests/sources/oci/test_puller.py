"""Pulls with every policy, through mirrors and with credentials, from a real registry."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.sources.oci.conftest import MAX_SIZE, User, module, refused_address
from tests.support.clock import assert_within
from tests.support.credential_helper import helper
from tests.support.fault_proxy import Answer, Fault, FaultProxy, Received, refusing, slow, tampered
from tests.support.registry import PASSWORD, USERNAME, Registry
from tests.support.token_server import TokenServer
from wagi_gateway.config.image_reference import ImageReference
from wagi_gateway.config.settings import RegistryConfig
from wagi_gateway.config.values import PullPolicy
from wagi_gateway.sources.oci.errors import ImageNotFound, Invalid, RegistryError, TooLarge, Unauthorised, Unreachable
from wagi_gateway.sources.oci.puller import Pulled

ONE, TWO = module("one"), module("two")


def is_blob(request: Received) -> bool:
    return request.is_blob


def is_any(_request: Received) -> bool:
    return True


def test_what_is_pulled_is_what_was_pushed(user: User, registry: Registry) -> None:
    digest = user.push(registry.address, ONE)
    pulled = user.pull(registry.address)
    assert (pulled.data, pulled.digest) == (ONE, hashlib.sha256(ONE).hexdigest())
    assert pulled.path.read_bytes() == ONE
    assert (pulled.manifest_digest, pulled.reference) == (digest, user.reference(registry.address))
    assert (pulled.is_new, pulled.is_stored, pulled.warnings) == (True, True, ())
    again = user.pull(registry.address, "always")
    assert (again.data, again.is_new, again.warnings) == (ONE, False, ())


MOVED = {"always": TWO, "if-not-present": ONE, "never": ONE}


@pytest.mark.parametrize("policy", MOVED)
def test_a_tag_that_moved(user: User, registry: Registry, policy: PullPolicy) -> None:
    user.push(registry.address, ONE)
    user.pull(registry.address)
    user.push(registry.address, TWO)
    assert user.pull(registry.address, policy).data == MOVED[policy]
    assert user.pull(registry.address, "never").data == MOVED[policy], "it is remembered"


@pytest.mark.parametrize(
    ("policy", "version", "requests"),
    [
        ("always", ":1", ["HEAD"]),
        ("if-not-present", ":1", []),
        ("never", ":1", []),
        ("always", "@", []),
        ("always", ":1@", []),
        ("if-not-present", ":2", ["GET", "GET", "GET"]),
    ],
    ids=["always", "if-not-present", "never", "digest", "tag and digest", "another tag"],
)
def test_what_a_warm_store_asks(
    user: User, registry: Registry, policy: PullPolicy, version: str, requests: list[str]
) -> None:
    with FaultProxy(registry.address) as proxy:
        digest = user.push(registry.address, ONE)
        user.push(registry.address, TWO, ":2")
        user.pull(proxy.address)
        before = len(proxy.received)
        user.pull(proxy.address, policy, version.replace("@", f"@{digest}"))
        asked = [request.method for request in proxy.received[before:] if request.path != "/v2/"]
    assert asked == requests[: len(asked)]
    assert bool(asked) == bool(requests)


def test_never_contacts_no_registry(user: User) -> None:
    with pytest.raises(ImageNotFound) as caught:
        user.pull(refused_address(), "never")
    assert f'it is not in the store {user.home}/store, and the pull policy is "never"' in str(caught.value)
    assert "`wagi-gateway pull 127.0.0.1:" in str(caught.value)


@pytest.mark.parametrize("policy", ["always", "if-not-present"])
def test_a_pin_stays_when_the_tag_moves(user: User, registry: Registry, policy: PullPolicy) -> None:
    digest = user.push(registry.address, ONE)
    user.push(registry.address, TWO)
    assert user.pull(registry.address, policy, f"@{digest}").data == ONE
    assert user.pull(registry.address, policy, f":1@{digest}").data == ONE
    assert user.pull(registry.address, "if-not-present").data == TWO, "a pin says nothing about the tag"


def test_an_unknown_digest(user: User, registry: Registry) -> None:
    user.push(registry.address, ONE)
    with pytest.raises(ImageNotFound, match="sha256:0000"):
        user.pull(registry.address, version="@sha256:" + "0" * 64)


@pytest.mark.parametrize("what", ["/manifests/", "/blobs/sha"])
def test_what_is_not_its_digest_is_neither_served_nor_kept(user: User, registry: Registry, what: str) -> None:
    digest = user.push(registry.address, ONE)
    with FaultProxy(registry.address) as proxy:
        proxy.fault(lambda request: request.method == "GET" and what in request.path, tampered)
        with pytest.raises(Invalid, match="damaged or forged"):
            user.pull(proxy.address, version=f"@{digest}")
    assert user.files() == set()


def hanging_up(_request: Received, _proxy: FaultProxy) -> Answer:
    raise ConnectionResetError


ODD_REGISTRIES: dict[str, Fault] = {
    **{f"HEAD is {status}": refusing(status) for status in (400, 401, 403, 404, 405, 406, 500, 501, 503)},
    "HEAD is a hang-up": hanging_up,
    "HEAD wants a login": refusing(401, WWW_Authenticate='Basic realm="x"'),
    "HEAD has no digest": refusing(200),
    "HEAD has another digest": refusing(200, Docker_Content_Digest=f"sha256:{'0' * 64}"),
}


@pytest.mark.parametrize("is_private", [False, True], ids=["public", "private"])
@pytest.mark.parametrize("head", ODD_REGISTRIES.values(), ids=ODD_REGISTRIES)
def test_the_second_start_is_as_the_first(user: User, registry: Registry, head: Fault, is_private: bool) -> None:
    user.push(registry.address, ONE)
    tokens = TokenServer(is_private=is_private)
    with FaultProxy(registry.address) as proxy, tokens.server:
        proxy.fault(lambda request: request.method == "HEAD", head)
        if is_private:
            tokens.protect(proxy)
            entry = {"auths": {proxy.address: {"username": USERNAME, "password": PASSWORD}}}
            (user.home / ".docker").mkdir()
            (user.home / ".docker/config.json").write_text(json.dumps(entry))
        pulls = [user.pull(proxy.address, "always") for _ in range(3)]
        assert [(pulled.data, pulled.is_new, pulled.is_stale, pulled.warnings) for pulled in pulls] == [
            (ONE, True, False, ()),
            (ONE, False, False, ()),
            (ONE, False, False, ()),
        ]
        user.push(registry.address, TWO)
        assert user.pull(proxy.address, "always").data == TWO


@pytest.mark.parametrize("policy", ["always", "if-not-present", "never"])
def test_the_registry_is_down_and_the_store_is_warm(user: User, registry: Registry, policy: PullPolicy) -> None:
    with FaultProxy(registry.address) as proxy:
        user.push(registry.address, ONE)
        user.pull(proxy.address)
    pulled = user.pull(proxy.address, policy)
    assert (pulled.data, pulled.is_stale) == (ONE, policy == "always")
    assert [warning.endswith("; the copy in the store is used") for warning in pulled.warnings] == (
        [True] if policy == "always" else []
    )


def test_the_registry_is_out_of_order_and_the_store_is_warm(user: User, registry: Registry) -> None:
    with FaultProxy(registry.address) as proxy:
        user.push(registry.address, ONE)
        user.pull(proxy.address)
        proxy.fault(is_any, refusing(503))
        before = len(proxy.received)
        pulled = user.pull(proxy.address, "always")
        assert pulled.data == ONE
        assert "503" in pulled.warnings[0]
        assert len(proxy.received) <= before + 2


@pytest.mark.parametrize(("status", "error"), [(404, ImageNotFound), (403, Unauthorised)])
def test_a_registry_that_says_no_is_believed(
    user: User, registry: Registry, status: int, error: type[RegistryError]
) -> None:
    with FaultProxy(registry.address) as proxy:
        user.push(registry.address, ONE)
        user.pull(proxy.address)
        proxy.fault(is_any, refusing(status))
        with pytest.raises(error):
            user.pull(proxy.address, "always")


def test_the_registry_is_down_and_the_store_is_cold(user: User) -> None:
    with FaultProxy() as proxy:
        user.tables[proxy.address] = RegistryConfig(insecure=False)  # a registry without TLS is not retried
        with pytest.raises(Unreachable, match=proxy.address):
            user.pull(proxy.address)


START = """
import json, sys, time
from pathlib import Path
from wagi_gateway.config.image_reference import ImageReference
from wagi_gateway.sources.oci.credentials import CredentialSource
from wagi_gateway.sources.oci.puller import Puller
from wagi_gateway.sources.oci.store import Store

home, policy, *names = sys.argv[1:]
start = time.perf_counter()
puller = Puller(Store(Path(home, "store")), {}, CredentialSource([], {"HOME": home}, {}, Path(home)), Path(home))
pulled = puller.pull_all([(ImageReference.parse(name), policy) for name in names], 1 << 20)
print(json.dumps([time.perf_counter() - start, len({one.digest for one in pulled}), "requests" in sys.modules]))
"""


@pytest.mark.parametrize("policy", ["always", "if-not-present"])
def test_five_modules_start_without_a_registry(user: User, registry: Registry, policy: PullPolicy) -> None:
    with FaultProxy(registry.address) as proxy:
        names = [f"{proxy.address}/{user.repository}:{number}" for number in range(5)]
        for number, name in enumerate(names):
            user.push(registry.address, module(str(number), 100_000), f":{number}")
            assert user.pull(proxy.address, version=f":{number}").is_new, name
    command = [sys.executable, "-c", START, str(user.home), policy, *names]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    seconds, different, has_requests = json.loads(output)
    assert different == 5
    assert not has_requests
    assert_within(seconds, 0.2)


def test_without_a_download_no_http_library_is_imported() -> None:
    heavy = "{'oras', 'requests', 'urllib3', 'zstandard', 'wasmtime'}"
    code = f"import sys, wagi_gateway.sources.oci.puller; print({heavy} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output == "set()\n"


def test_several_are_pulled_side_by_side(user: User, registry: Registry) -> None:
    with FaultProxy(registry.address) as proxy:
        user.push(registry.address, ONE)
        user.push(registry.address, TWO, ":2")
        one, two, missing = (user.reference(proxy.address, version) for version in (":1", ":2", ":3"))
        wanted: list[tuple[ImageReference, PullPolicy]] = [
            (one, "if-not-present"),
            (missing, "if-not-present"),
            (two, "always"),
            (one, "if-not-present"),
            (one, "never"),
        ]
        results = user.puller().pull_all(wanted, MAX_SIZE)
        assert len(proxy.downloads) == 2
    datas = [result.data if isinstance(result, Pulled) else type(result) for result in results]
    assert datas[:4] == [ONE, ImageNotFound, TWO, ONE]
    assert datas[4] in (ONE, ImageNotFound), "it depends on who is first"
    assert user.puller().pull_all([], MAX_SIZE) == []


def test_an_interrupt_ends_a_download(user: User, registry: Registry) -> None:
    user.push(registry.address, module("slow", 5000))
    main = threading.main_thread().ident
    assert main
    sent = threading.Event()

    def interrupt(_reference: ImageReference, done: int, _total: int) -> None:
        if done and not sent.is_set():
            sent.set()
            signal.pthread_kill(main, signal.SIGINT)

    with FaultProxy(registry.address) as proxy:
        proxy.fault(is_blob, slow)
        start = time.monotonic()
        puller = user.puller(interrupt)
        with pytest.raises(KeyboardInterrupt):
            puller.pull_all([(user.reference(proxy.address), "always")], MAX_SIZE)
        assert time.monotonic() - start < 10
    assert user.files() == set()


def test_an_interrupt_ends_the_wait_for_another_process(user: User, registry: Registry) -> None:
    digest = user.push(registry.address, ONE)
    main = threading.main_thread().ident
    assert main
    with FaultProxy(registry.address) as proxy, user.store.lock(digest):

        def interrupt(_request: Received, _proxy: FaultProxy) -> None:
            signal.pthread_kill(main, signal.SIGINT)

        proxy.fault(lambda request: request.method == "GET" and request.is_manifest, interrupt)
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            user.puller().pull_all([(user.reference(proxy.address), "always")], MAX_SIZE)
        assert time.monotonic() - start < 5


def test_progress_is_reported(user: User, registry: Registry) -> None:
    data = module("long", 300_000)
    user.push(registry.address, data)
    told: list[tuple[ImageReference, int, int]] = []
    reference = user.reference(registry.address)
    user.puller(lambda *progress: told.append(progress)).pull(reference, "always", MAX_SIZE)
    assert {(name, total) for name, _, total in told} == {(reference, len(data))}
    counts = [done for _, done, _ in told]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, len(data))
    assert len(counts) > 3
    told.clear()
    user.puller(lambda *progress: told.append(progress)).pull(reference, "always", MAX_SIZE)
    assert told == []


def test_a_module_that_is_too_large_is_not_downloaded(user: User, registry: Registry) -> None:
    with FaultProxy(registry.address) as proxy:
        user.push(registry.address, module("large", 5000))
        reference = user.reference(proxy.address)
        with pytest.raises(TooLarge, match="4999 are allowed"):
            user.puller().pull(reference, "always", 4999)
        assert proxy.downloads == []
        user.pull(proxy.address)
        for policy in ("always", "if-not-present", "never"):
            with pytest.raises(TooLarge, match="4999 are allowed"):
                user.puller().pull(reference, policy, 4999)


def test_the_same_module_elsewhere_is_not_downloaded_again(user: User, registry: Registry) -> None:
    with FaultProxy(registry.address) as proxy:
        user.push(registry.address, ONE)
        assert user.push(registry.address, ONE, ":2", note="another manifest") != user.push(registry.address, ONE)
        user.pull(proxy.address)
        pulled = user.pull(proxy.address, version=":2")
        assert pulled.data == ONE
        assert len(proxy.downloads) == 1
    assert len(user.store.entries()) == 2


INDEX = "application/vnd.oci.image.index.v1+json"


def push_index(user: User, address: str, *entries: tuple[str, str, str], tag: str = "index") -> str:
    """Pushes an index of (os, architecture, digest); returns its digest."""
    accept = {"Accept": f"application/vnd.oci.image.manifest.v1+json, {INDEX}"}
    url = f"http://{address}/v2/{user.repository}/manifests/"
    manifests = []
    with httpx.Client(trust_env=False) as client:
        for os_name, architecture, digest in entries:
            answer = client.get(url + digest, headers=accept)
            platform = {"os": os_name, "architecture": architecture}
            manifests.append(
                {
                    "mediaType": answer.headers["Content-Type"],
                    "digest": digest,
                    "size": len(answer.content),
                    "platform": platform,
                }
            )
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode()
        client.put(url + tag, content=index, headers={"Content-Type": INDEX}).raise_for_status()
    return f"sha256:{hashlib.sha256(index).hexdigest()}"


def test_indexes_within_indexes_come_to_an_end(user: User, registry: Registry) -> None:
    digest = user.push(registry.address, ONE)
    for depth in range(1, 4):
        digest = push_index(user, registry.address, ("wasip1", "wasm", digest), tag=f"depth-{depth}")
    assert user.pull(registry.address, version=":depth-2").data == ONE
    with pytest.raises(Invalid, match="indexes lead to indexes, more than 2 times"):
        user.pull(registry.address, version=":depth-3")


def test_an_index_is_known_by_its_own_digest(user: User, registry: Registry) -> None:
    one, two = user.push(registry.address, ONE), user.push(registry.address, TWO, ":2")
    index = push_index(user, registry.address, ("linux", "amd64", one), ("wasip1", "wasm", two))
    pulled = user.pull(registry.address, version=":index")
    assert (pulled.data, pulled.manifest_digest) == (TWO, index)
    assert user.pull(registry.address, "never", f"@{index}").data == TWO
    inspection = user.puller().inspect(user.reference(registry.address, f"@{index}"), "never", MAX_SIZE)
    assert inspection.manifest.digest == two


def test_inspect_shows_the_manifest_offline_too(user: User, registry: Registry) -> None:
    with FaultProxy(registry.address) as proxy:
        digest = user.push(registry.address, ONE, note="hello")
        reference = user.reference(proxy.address)
        online = user.puller().inspect(reference, "always", MAX_SIZE)
    offline = user.puller().inspect(reference, "if-not-present", MAX_SIZE)
    assert online.manifest == offline.manifest
    assert (offline.manifest.digest, offline.manifest.annotations) == (digest, {"note": "hello"})
    assert offline.pulled.data == ONE


def test_inspect_asks_for_a_manifest_that_was_not_kept(user: User, registry: Registry) -> None:
    digest = user.push(registry.address, ONE)
    user.store.directory.joinpath("images").write_text("")  # the directory of a record
    inspection = user.puller().inspect(user.reference(registry.address), "always", MAX_SIZE)
    assert inspection.manifest.digest == digest
    assert not inspection.pulled.is_stored


def lose(path: Path, _other: Path) -> None:
    path.unlink()


def change(path: Path, _other: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"schemaVersion", b"SchemaVersion"))


def replace(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


@pytest.mark.parametrize("spoil", [lose, change, replace])
@pytest.mark.parametrize("what", ["manifest", "index"])
def test_what_leads_to_a_module_is_verified(
    user: User, registry: Registry, what: str, spoil: Callable[[Path, Path], None]
) -> None:
    one, two = user.push(registry.address, ONE), user.push(registry.address, TWO, ":2")
    index = push_index(user, registry.address, ("wasip1", "wasm", one))
    for version in (":index", ":2"):
        user.pull(registry.address, version=version)
    paths = {"manifest": one, "index": index, "other": two}
    blobs = {name: user.store.path(digest.removeprefix("sha256:")) for name, digest in paths.items()}
    spoil(blobs[what], blobs["other"])
    with pytest.raises(ImageNotFound, match=f"what leads from {index} to .* is gone or was changed, so it is not used"):
        user.pull(registry.address, "never", ":index")
    assert user.pull(registry.address, version=":index").data == ONE
    assert user.pull(registry.address, "never", ":index").data == ONE, "it was mended"


FORGED = {
    "the module": ("index", {"module", "size"}),
    "the manifest": ("index", {"module", "size", "manifest"}),
    "the way without the index": ("index", {"module", "size", "manifest", "indexes"}),
    "the module of a manifest": ("manifest", {"module", "size"}),
    "all of a manifest": ("manifest", {"module", "size", "manifest"}),
}


@pytest.mark.parametrize(("what", "fields"), FORGED.values(), ids=FORGED)
def test_a_record_that_names_another_stored_module_is_not_believed(
    user: User, registry: Registry, what: str, fields: set[str]
) -> None:
    one, two = user.push(registry.address, ONE), user.push(registry.address, module("other"), ":2")
    index = push_index(user, registry.address, ("wasip1", "wasm", one))
    digest = {"index": index, "manifest": one}[what]
    for version in (f"@{digest}", ":2"):
        assert user.pull(registry.address, version=version).is_new
    records = user.store.directory / "images"
    record, other = (records / f"{each.replace(':', '-')}.json" for each in (digest, two))
    forged = json.loads(record.read_text()) | {name: json.loads(other.read_text())[name] for name in fields}
    record.write_text(json.dumps(forged))
    with pytest.raises(ImageNotFound, match="gone or was changed"):
        user.pull(registry.address, "never", f"@{digest}")
    assert user.pull(registry.address, version=f"@{digest}").data == ONE


def test_a_push_has_a_name_and_is_the_same_each_time(user: User, registry: Registry) -> None:
    digests = {user.puller().push(ONE, "hello.wasm", user.reference(registry.address), {"a": "b"}) for _ in range(2)}
    inspection = user.puller().inspect(user.reference(registry.address), "always", MAX_SIZE)
    assert digests == {inspection.manifest.digest}
    assert inspection.manifest.layers[0].annotations == {"org.opencontainers.image.title": "hello.wasm"}
    assert inspection.manifest.annotations == {"a": "b"}


@pytest.mark.parametrize(
    ("content", "version", "text"),
    [(b"(module)", ":1", "not a WebAssembly module"), (ONE, "@sha256:" + "0" * 64, "a push names a tag")],
    ids=["text", "digest"],
)
def test_what_cannot_be_pushed(user: User, registry: Registry, content: bytes, version: str, text: str) -> None:
    with pytest.raises(Invalid, match=text):
        user.puller().push(content, "module.wasm", user.reference(registry.address, version), {})


@pytest.mark.parametrize("prefix", ["", "/hub/cache"])
def test_a_mirror_serves(user: User, registry: Registry, prefix: str) -> None:
    origin = refused_address()
    mirrored = User(user.home, f"{prefix.strip('/')}/{user.repository}".strip("/"))
    mirrored.push(registry.address, ONE)
    user.tables[origin] = RegistryConfig(mirror=f"{registry.address}{prefix}")
    pulled = user.pull(origin)
    assert (pulled.data, pulled.warnings) == (ONE, ())
    assert str(pulled.reference) == f"{origin}/{user.repository}:1"


def test_a_mirror_that_does_not_have_it_leads_to_the_registry(user: User, registry: Registry) -> None:
    user.push(registry.address, ONE)
    with FaultProxy(registry.address) as mirror:
        mirror.fault(is_any, refusing(404))
        user.tables[registry.address] = RegistryConfig(mirror=mirror.address)
        pulled = user.pull(registry.address)
        assert mirror.received
    assert (pulled.data, pulled.warnings) == (ONE, ())


MIRROR_FAULTS = {
    "out of order": (is_any, refusing(503)),
    "wants a password": (is_any, refusing(401)),
    "damaged": (is_blob, tampered),
    "no registry": (is_any, lambda *_: Answer(200, {}, b"hello")),
}


@pytest.mark.parametrize(("which", "fault"), MIRROR_FAULTS.values(), ids=MIRROR_FAULTS)
def test_a_mirror_that_fails_leads_to_the_registry(
    user: User, registry: Registry, which: object, fault: object
) -> None:
    user.push(registry.address, ONE)
    with FaultProxy(registry.address) as mirror:
        mirror.fault(which, fault)  # type: ignore[arg-type]
        user.tables[registry.address] = RegistryConfig(mirror=mirror.address)
        pulled = user.pull(registry.address)
    assert pulled.data == ONE
    (warning,) = pulled.warnings
    assert warning.startswith("mirror: ")
    assert mirror.address in warning


def test_a_mirror_that_is_down_is_contacted_once(user: User, registry: Registry) -> None:
    user.push(registry.address, ONE)
    user.push(registry.address, TWO, ":2")
    mirror = refused_address()
    user.tables[registry.address] = RegistryConfig(mirror=mirror)
    puller = user.puller()
    assert puller.pull(user.reference(registry.address), "always", MAX_SIZE).data == ONE
    start = time.monotonic()
    pulled = puller.pull(user.reference(registry.address, ":2"), "always", MAX_SIZE)
    assert_within(time.monotonic() - start, 0.4)
    assert pulled.data == TWO
    assert mirror in pulled.warnings[0]


def test_when_both_fail_both_are_named(user: User, registry: Registry) -> None:
    mirror = refused_address()
    user.tables[registry.address] = RegistryConfig(mirror=mirror)
    with pytest.raises(Unreachable) as caught:
        user.pull(registry.address)
    reference = f"{registry.address}/{user.repository}:1"
    assert str(caught.value).startswith(f"{reference}: {registry.address} does not have it")
    assert f"before, the mirror: {mirror} cannot be reached" in str(caught.value)
    assert str(caught.value).count(reference) == 1
    assert reference not in caught.value.what


def test_both_are_down_and_the_store_is_warm(user: User, registry: Registry) -> None:
    with FaultProxy(registry.address) as proxy:
        user.push(registry.address, ONE)
        user.pull(proxy.address)
    user.tables[proxy.address] = RegistryConfig(mirror=refused_address())
    pulled = user.pull(proxy.address, "always")
    assert pulled.data == ONE
    assert "before, the mirror: " in pulled.warnings[0]
    assert user.repository not in pulled.warnings[0], "who shows it knows what it is about"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_the_mirror_is_down_and_the_registry_says_no_and_the_store_is_warm(
    user: User, registry: Registry, status: int
) -> None:
    user.push(registry.address, ONE)
    with FaultProxy(registry.address) as origin:
        with FaultProxy(registry.address) as mirror:
            user.tables[origin.address] = RegistryConfig(mirror=mirror.address)
            user.pull(origin.address)
        origin.fault(is_any, refusing(status))
        pulled = user.pull(origin.address, "always")
    assert (pulled.data, pulled.is_stale) == (ONE, True)
    (warning,) = pulled.warnings
    assert f"before, the mirror: {mirror.address} cannot be reached" in warning
    assert warning.endswith("; the copy in the store is used")


def in_a_table(user: User, address: str) -> None:
    (user.home / "password").write_text(f"{PASSWORD}\n")
    user.tables[address] = user.tables[address].model_copy(update={"username": USERNAME, "password_file": "password"})


def in_auth_json(user: User, address: str) -> None:
    auth = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    (user.home / "auth.json").write_text(json.dumps({"auths": {address: {"auth": auth}}}))
    user.environ["REGISTRY_AUTH_FILE"] = str(user.home / "auth.json")


def in_a_helper(user: User, address: str) -> None:
    answer = json.dumps({"ServerURL": address, "Username": USERNAME, "Secret": PASSWORD})
    user.environ |= helper(user.home, f"cat > {user.home}/asked; echo '{answer}'")
    (user.home / ".docker").mkdir()
    (user.home / ".docker/config.json").write_text(json.dumps({"credHelpers": {address: "test"}}))


@pytest.fixture
def private_user(user: User, private_registry: Registry) -> User:
    """A user with the private registry's authority and without a password."""
    user.tables[private_registry.address] = RegistryConfig(ca_file=str(private_registry.ca_file))
    return user


@pytest.mark.parametrize("give", [in_a_table, in_auth_json, in_a_helper])
def test_a_private_registry(private_user: User, private_registry: Registry, give: object) -> None:
    assert callable(give)
    give(private_user, private_registry.address)
    private_user.push(private_registry.address, ONE)
    assert private_user.pull(private_registry.address).data == ONE


def test_without_credentials_the_error_says_where_they_were_looked_for(
    private_user: User, private_registry: Registry
) -> None:
    with pytest.raises(Unauthorised) as caught:
        private_user.pull(private_registry.address)
    text = str(caught.value)
    assert f"there are no credentials for {private_registry.address}; looked in" in text
    assert f"{private_user.home}/.docker/config.json (not there)" in text
    assert text.count("looked in") == 1


def test_a_helper_that_fails_is_part_of_the_error(private_user: User, private_registry: Registry) -> None:
    in_a_helper(private_user, private_registry.address)
    helper(private_user.home, f"echo {PASSWORD}")
    puller = private_user.puller()
    with pytest.raises(Unauthorised, match="docker-credential-test printed something else than JSON") as caught:
        puller.pull(private_user.reference(private_registry.address), "always", MAX_SIZE)
    assert PASSWORD not in str(caught.value)
    (warning,) = puller.warnings
    assert "docker-credential-test printed something else than JSON" in warning


def test_credentials_that_are_wrong_are_named_and_not_shown(
    private_user: User, private_registry: Registry, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    in_a_table(private_user, private_registry.address)
    (private_user.home / "password").write_text("s3cr3t")
    puller = private_user.puller()
    with pytest.raises(Unauthorised) as caught:
        puller.pull(private_user.reference(private_registry.address), "always", MAX_SIZE)
    chain: list[BaseException] = [caught.value]
    while following := chain[-1].__cause__ or (None if chain[-1].__suppress_context__ else chain[-1].__context__):
        chain.append(following)
    assert f'the credentials were those of [registries."{private_registry.address}"]' in str(caught.value)
    shown = [*map(repr, chain), *map(str, chain), repr(puller), caplog.text, *capfd.readouterr()]
    encoded = base64.b64encode(f"{USERNAME}:s3cr3t".encode()).decode()
    assert not [text for text in shown if "s3cr3t" in text or encoded in text]


def test_a_missing_password_is_reported_before_any_request(user: User) -> None:
    address = refused_address()
    user.tables[address] = RegistryConfig(username="user", password_env="NOT_SET")
    with pytest.raises(Unauthorised, match='password_env = "NOT_SET": the gateway\'s environment has no such variable'):
        user.pull(address)


def test_credentials_do_not_go_to_another_registry(user: User, registry: Registry) -> None:
    in_auth_json(user, "ghcr.io")
    user.push(registry.address, ONE)
    with FaultProxy(registry.address) as proxy:
        user.pull(proxy.address)
        assert [request for request in proxy.received if request.authorization] == []
